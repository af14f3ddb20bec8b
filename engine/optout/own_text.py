"""The person's own words of a reply: without quoted messages, reactions of phones, signatures and disclaimers.

A reply by e-mail carries the message that it answers, and that message says "unsubscribe" itself. What is left out
is told apart by how sure it is that it was ours: a line that begins with ">" was, the lines below "--" may not be.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from typing import Final

import msgspec
import yaml

# Longer texts are cut before anything looks at them: every step below is linear, and this bounds it.
READ: Final = 32_768
_LINES: Final = 1_000
_LAST: Final = 500

_TAGS: Final = (
    "a|b|blockquote|body|br|div|em|font|head|html|i|img|li|meta|o:p|ol|p|pre|span|strong|style|table|tbody|td|tr|u|ul"
)
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]{{0,2000}})?/?>", re.IGNORECASE)
_QUOTED_TAG = re.compile(r"<(/?)blockquote(?:\s[^<>]{0,2000})?>", re.IGNORECASE)
_BREAKS = re.compile(r"<(?:br|/p|/div|/tr|/li)\s?/?>", re.IGNORECASE)
_DELIMITER = re.compile(r"\s*--\s*$")
_RULE = re.compile(r"\s*[-_=*]{6,}\s*$")
_NESTED: Final = {
    "\u201c": "\u201d",
    "\u00ab": "\u00bb",
    "\u201e": "\u201c\u201d",
    "\u2039": "\u203a",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
_STRAIGHT: Final = "\"'\u201d\u2019\u2018"
_CLOSERS: Final = frozenset("\"\u201d\u201c\u00bb\u203a\u300d\u300f'\u2019")
_ADDRESS = re.compile(r"<[^<>@\s]{1,200}@[^<>@\s]{1,200}>")


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What mail programs and phones write (conf/optout/quoted.yaml)."""

    attribution: dict[str, frozenset[str]]
    dividers: frozenset[str]
    heads: dict[str, frozenset[str]]
    signatures: tuple[str, ...]
    disclaimer: tuple[str, ...]
    foot: tuple[str, ...]
    reactions: frozenset[str]
    beside_reactions: frozenset[str]

    @cached_property
    def said(self) -> re.Pattern[str]:
        """The word by which an attribution is known."""
        return re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(self.attribution["says"]))) + r")\b")

    @cached_property
    def reacts(self) -> re.Pattern[str]:
        """The words that say that a phone reacted."""
        return re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(self.reactions))) + r")\b")

    @cached_property
    def reaction_words(self) -> frozenset[str]:
        """Every word that a phone writes beside the quotation."""
        return frozenset(word for phrase in self.reactions | self.beside_reactions for word in phrase.split())


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The vocabulary that ships."""
    text = (resources.files("conf") / "optout" / "quoted.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Vocabulary)


@dataclass
class Own:
    """A reply taken apart.

    Attributes:
        text: the person's own words.
        reacted: a phone's reaction to a message was left out.
        tails: what was left out and may have been the person's: signatures, quotations that nobody marked.
        quoted: anything else was left out.
        cut: the reply was longer than what is read.
    """

    text: str
    reacted: bool = False
    tails: list[str] = field(default_factory=list)
    quoted: bool = False
    cut: bool = False


def own_text(reply: str) -> Own:
    """Take a reply apart; time and memory are linear in its length, and bounded."""
    text = _without_tags(reply[:READ].replace("\r\n", "\n").replace("\r", "\n"))
    lines = text.split("\n", _LINES)
    cut = len(reply) > READ or len(lines) > _LINES
    own = Own("\n".join(lines[:_LINES]), cut=cut)
    _leave_reaction(own)
    _leave_quotes(own)
    _leave_below(own)
    if cut:
        own.tails += _last_line(reply[-_LAST:].split("\n"))
    return own


def _last_line(lines: list[str]) -> list[str]:
    """An answer below a quotation that nobody marked stands in its last line, if it is no foot of a newsletter."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return [last] if last and not _counted(last, vocabulary().foot) else []


def _without_tags(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    if not _TAG.search(text):
        return html.unescape(text)
    lines, depth, at = [], 0, 0
    broken = _BREAKS.sub("\n", text)
    for found in [*_QUOTED_TAG.finditer(broken), None]:
        piece = broken[at : found.start() if found else len(broken)]
        lines += [("> " if depth else "") + line for line in html.unescape(_TAG.sub(" ", piece)).split("\n")]
        if found:
            at, depth = found.end(), max(0, depth + (-1 if found[1] else 1))
    return "\n".join(lines)


def _leave_reaction(own: Own) -> None:
    """ "Liked ...": words that a phone writes, beside a message in quotation marks."""
    text = own.text.strip()
    begin = next((at for at, sign in enumerate(text[:200]) if sign in _NESTED or sign == '"'), None)
    if begin is None:
        return
    end = _closing(text, begin)
    lead, rest = text[:begin], text[end:]
    close, _, below = rest.partition("\n")
    beside, after = _plain(lead).split(), _plain(close).split()
    words = vocabulary()
    emoji = any(unicodedata.category(sign) in {"So", "Sk"} for sign in lead)
    known = words.reaction_words
    if not set(beside) <= known or not (emoji or words.reacts.search(_plain(f"{lead} {close}"))):
        return
    own.reacted = True
    own.text = "\n".join((" ".join(word for word in after if word not in known), below)).strip()
    quotation = text[begin:end]
    if quotation[-1] not in _CLOSERS and not quotation.endswith(("\u2026", "...")):
        own.tails.append(quotation)  # it was never closed: what the person wrote below it may be in it


def _closing(text: str, begin: int) -> int:
    """Where the quotation that begins there is over: nested marks are counted, straight ones end at the last."""
    opening = text[begin]
    ends = _NESTED.get(opening)
    if ends is None:
        last = max(text.rfind(sign) for sign in _STRAIGHT)
        return last + 1 if last > begin else len(text)
    depth = 0
    for at in range(begin, len(text)):
        if text[at] == opening:
            depth += 1
        elif text[at] in ends:
            depth -= 1
            if not depth:
                return at + 1
    return len(text)


def _plain(line: str) -> str:
    """Lower case, one blank between words, without signs around them."""
    kept = "".join(sign if sign.isalnum() or sign in "'-" else " " for sign in line.casefold())
    return " ".join(kept.split())


def _leave_quotes(own: Own) -> None:
    """Marked lines, and everything below the line with which a program begins to quote."""
    lines = own.text.split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith((">", "|", "\uff1e")):
            own.quoted = True
            at += 1
            continue
        skip = _attribution(lines, at)
        if skip or _divides(lines, at):
            own.quoted = True
            at += skip or 1
            below = lines[at:]
            if skip and any(one.lstrip().startswith((">", "|")) for one in below[:50]):
                continue  # only the marked lines are quoted: an answer may stand below them
            if any(map(str.strip, kept)):
                own.tails += _last_line(below)
                own.cut = False  # what was cut off is quoted
            else:
                own.tails.append("\n".join(below))
            break
        kept.append(line)
        at += 1
    own.text = "\n".join(kept)


def _attribution(lines: list[str], at: int) -> int:
    """How many lines a "On ... wrote:" takes there; 0 where there is none."""
    words = vocabulary()
    first = _plain(lines[at][:80]).split()[:1]
    if not first or lines[at].lstrip().startswith((">", "|")):
        return 0
    begins = first[0] in words.attribution["begins"] or first[0][:1].isdigit()
    joined = ""
    for count, line in enumerate(lines[at : at + 3], 1):
        joined = f"{joined} {line.casefold().strip()}"
        if len(joined) > 600 or not line.strip():
            return 0
        dated = "@" in joined or any(sign.isdigit() for sign in joined)
        named = count == 1 and _ADDRESS.search(joined)
        if dated and joined.endswith((":", "\uff1a")) and (named or (begins and words.said.search(joined))):
            return count
    return 0


def _divides(lines: list[str], at: int) -> bool:
    """Whether a divider or the head of a quoted message begins there."""
    line = lines[at].strip()
    if not line or len(line) > 300:
        return False
    words = vocabulary()
    bare = line.strip("-_=*<> :").casefold()
    if bare in words.dividers and (line[0] in "-_=*#" or line.endswith(":")):
        return True
    return _label(line) in words.heads["first"] and any(
        _label(one) in words.heads["then"] for one in lines[at + 1 : at + 6]
    )


def _label(line: str) -> str:
    """What stands before the colon of a line, for the heads of messages."""
    name, colon, _ = line.strip().partition(":")
    return name.strip(" *_\t\u00a0").casefold() if colon and len(name) < 40 else ""


def _leave_below(own: Own) -> None:
    """Signatures, disclaimers and the foot of a newsletter below the person's words."""
    lines = own.text.split("\n")
    for at, line in enumerate(lines):
        if _DELIMITER.match(line) and any(map(str.strip, lines[:at])):
            own.tails.append("\n".join(lines[at + 1 :]))
            lines = lines[:at]
            break
    own.tails += [line for line in lines if _signature(line)]
    kept = [line for line in lines if not (_signature(line) or _RULE.match(line))]
    own.quoted |= len(kept) < len(lines)
    paragraphs = re.split(r"\n\s*\n", "\n".join(kept))
    stay = [one for at, one in enumerate(paragraphs) if not (_disclaims(one) or (at and _foot(one)))]
    own.quoted |= len(stay) < len(paragraphs)
    own.text = "\n\n".join(stay)


def _signature(line: str) -> bool:
    """A line such as "Sent from my iPhone"; a longer one may say more."""
    plain = _plain(line[:200])
    return len(line) <= 80 and len(plain.split()) <= 9 and plain.startswith(vocabulary().signatures)


def _counted(paragraph: str, phrases: tuple[str, ...]) -> int:
    lower = paragraph.casefold()
    return sum(phrase in lower for phrase in phrases)


def _disclaims(paragraph: str) -> bool:
    return len(paragraph.split()) >= 8 and _counted(paragraph, vocabulary().disclaimer) >= 2


def _foot(paragraph: str) -> bool:
    return _counted(paragraph, vocabulary().foot) >= 2
