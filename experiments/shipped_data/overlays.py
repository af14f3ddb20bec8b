"""Area codes of the North American plan that serve the same ground, and what follows for their zones and states.

When the numbers of an area run out, a new code is laid over it: a phone with the new code is as likely to be anywhere
in the area as one with the old code. The metadata know fewer towns of young codes, so they give them fewer zones than
their twins. Here all codes of one ground get the states and zones of all of them. A code that is laid over several
grounds gets those of each; a code of one ground alone does not get those of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# One ground a word, its codes joined by signs of addition; assignments of the North American Numbering Plan
# Administration as of 2026. By state or province of the ground.
_BY_STATE: Final = {
    "AL": "205+659 256+938",
    "AR": "479 501 870+327",
    "AZ": "480+602+623",
    "CA": "209+350 213+323+738 310+424 408+669 415+628 510+341 530+837 619+858 657+714 707+369 747+818 760+442 805+820"
    " 840+909 916+279",
    "CO": "303+720+983 970+748",
    "CT": "203+475 860+959",
    "DC": "202+771",
    "FL": "305+786+645 407+689+321 850+448 561+728 813+656 904+324 954+754",
    "GA": "404+470+678+943 770+470+678+943 706+762",
    "ID": "208+986",
    "IL": "217+447 309+861 312+872 773+872 618+730 630+331 708+464 815+779 847+224",
    "IN": "317+463 812+930",
    "KY": "270+364",
    "MA": "508+774 617+857 781+339 978+351",
    "MD": "240+301+227 410+443+667",
    "MI": "248+947 313+679",
    "MN": "507+924",
    "MO": "314+557 573+235 816+975",
    "MS": "601+769",
    "NC": "336+743 704+980 910+472 919+984",
    "NE": "402+531",
    "NJ": "201+551 609+640 732+848 862+973",
    "NV": "702+725",
    "NY": "212+332+646+917 718+347+929+917 315+680 516+363 518+838 631+934 716+624 845+329",
    "OH": "216 234+330 220+740 283+513 380+614 419+567 440+436 937+326",
    "OK": "405+572 539+918",
    "OR": "458+541 503+971",
    "PA": "215+267+445 412+878 724+878 484+610+835 570+272 717+223 814+582",
    "PR": "787+939",
    "SC": "803+839 843+854 864+821",
    "TN": "615+629",
    "TX": "210+726 214+469+972+945 281+346+713+832+621 430+903 512+737 682+817",
    "UT": "385+801",
    "VA": "540+826 571+703 757+948 804+686",
    "WA": "360+564 206+564 253+564 425+564",
    "WI": "414 608+353 715+534 920+274",
    "WV": "304+681",
    "AB": "403+587+825+368 780+587+825+368",
    "BC": "250+236+672+778+257 604+236+672+778+257",
    "MB": "204+431+584",
    "NB": "506+428",
    "NL": "709+879",
    "NS": "902+782",
    "ON": "226+519+548+382 249+705+683 289+905+365+742 343+613+753 416+437+647+387 807",
    "QC": "263+438+514 354+450+579 367+418+581 819+873+468",
    "SK": "306+639+474",
}
GROUNDS: Final = tuple(tuple(ground.split("+")) for words in _BY_STATE.values() for ground in words.split())


def with_twins(found: Mapping[str, Any]) -> dict[str, Any]:
    """Area code -> [states, zones], with what the other codes of each of its grounds have.

    Args:
        found: code -> [states, zones], of codes with a place.
    """
    grounds_of: dict[str, list[tuple[str, ...]]] = {}
    for ground in GROUNDS:
        for code in ground:
            grounds_of.setdefault(code, []).append(ground)
    together: dict[str, Any] = {}
    for code, own in found.items():
        shared = [
            found[twin] for ground in grounds_of.get(code, []) for twin in _told_by(ground, code, found, grounds_of)
        ]
        together[code] = [sorted({name for pair in (own, *shared) for name in pair[part]}) for part in (0, 1)]
        # States keep the order in which they were written: the first has most of the people.
        together[code][0] = list(dict.fromkeys([*own[0], *together[code][0]]))
    return together


def _told_by(
    ground: tuple[str, ...], code: str, found: Mapping[str, Any], grounds_of: Mapping[str, list[tuple[str, ...]]]
) -> list[str]:
    """The codes of a ground that speak of it alone, or of exactly the grounds of this code."""
    return [
        twin
        for twin in ground
        if twin in found and (len(grounds_of[twin]) == 1 or grounds_of[twin] == grounds_of[code])
    ]
