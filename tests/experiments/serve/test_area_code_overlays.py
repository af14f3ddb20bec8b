"""Codes laid over one another agree in the shipped table; the list here is one of its own, by new and old code."""

from __future__ import annotations

import pytest
import yaml

from engine.time.zones import state_of_area_code, zones_of_area_code
from experiments.shipped_data.overlays import GROUNDS, with_twins

# New code: the codes over which it was laid. Codes that only split off another one are no overlay.
RELIEF = {
    "659": "205", "938": "256", "327": "870", "623": "602", "480": "602", "350": "209", "738": "213", "323": "213",
    "424": "310", "669": "408", "628": "415", "341": "510", "837": "530", "858": "619", "657": "714", "369": "707",
    "747": "818", "442": "760", "820": "805", "840": "909", "279": "916", "720": "303", "983": "303", "748": "970",
    "475": "203", "959": "860", "771": "202", "786": "305", "645": "305", "689": "407", "321": "407", "448": "850",
    "728": "561", "656": "813", "324": "904", "754": "954", "678": "404 770", "470": "404 770", "943": "404 770",
    "762": "706", "986": "208", "447": "217", "861": "309", "872": "312 773", "730": "618", "331": "630", "464": "708",
    "779": "815", "224": "847", "463": "317", "930": "812", "364": "270", "774": "508", "857": "617", "339": "781",
    "351": "978", "240": "301", "227": "301", "443": "410", "667": "410", "947": "248", "557": "314", "235": "573",
    "975": "816", "769": "601", "743": "336", "980": "704", "472": "910", "984": "919", "531": "402", "551": "201",
    "640": "609", "848": "732", "862": "973", "725": "702", "646": "212", "332": "212", "347": "718", "929": "718",
    "917": "212 718", "680": "315", "363": "516", "838": "518", "934": "631", "624": "716", "329": "845",
    "234": "330", "220": "740", "283": "513", "380": "614", "567": "419", "436": "440", "326": "937", "572": "405",
    "539": "918", "458": "541", "971": "503", "267": "215", "445": "215", "878": "412 724", "484": "610", "835": "610",
    "272": "570", "223": "717", "582": "814", "939": "787", "839": "803", "854": "843", "821": "864", "629": "615",
    "726": "210", "469": "214", "972": "214", "945": "214", "346": "713", "832": "713", "281": "713", "621": "713",
    "903": "430", "737": "512", "682": "817", "385": "801", "826": "540", "571": "703", "948": "757", "686": "804",
    "564": "360 206 253 425", "353": "608", "534": "715", "274": "920", "681": "304",
    "587": "403 780", "825": "403 780", "368": "403 780", "236": "250 604", "672": "250 604", "778": "250 604",
    "257": "250 604", "431": "204", "584": "204", "428": "506", "879": "709", "782": "902", "548": "519", "226": "519",
    "382": "519", "249": "705", "683": "705", "289": "905", "365": "905", "742": "905", "343": "613", "753": "613",
    "647": "416", "437": "416", "438": "514", "263": "514", "579": "450", "354": "450", "581": "418", "367": "418",
    "873": "819", "468": "819", "639": "306", "474": "306",
}  # fmt: skip
PAIRS = [(new, old) for new, olds in RELIEF.items() for old in olds.split() if zones_of_area_code(new)]


@pytest.mark.parametrize(("new", "old"), PAIRS)
def test_a_code_has_the_zones_and_states_of_what_it_was_laid_over(new: str, old: str) -> None:
    """Where it lies over one code alone, the other way round too."""
    assert set(zones_of_area_code(old)) <= set(zones_of_area_code(new))
    assert state_of_area_code(new) == state_of_area_code(old)
    if len(RELIEF[new].split()) == 1:
        assert zones_of_area_code(old) == zones_of_area_code(new)


@pytest.mark.parametrize(
    ("codes", "zones"),
    [
        ("364 270", {"America/Chicago", "America/New_York"}),
        ("448 850", {"America/Chicago", "America/New_York"}),
        ("930 812", {"America/Chicago", "America/New_York"}),
        ("458 541", {"America/Denver", "America/Los_Angeles"}),
        ("236 672 778 250", {"America/Edmonton", "America/Vancouver"}),
        ("986 208", {"America/Boise", "America/Denver", "America/Los_Angeles"}),
        ("604", {"America/Vancouver"}),  # under the same overlays, but not the ground of 250
    ],
)
def test_the_union_by_name(codes: str, zones: set[str]) -> None:
    for code in codes.split():
        assert set(zones_of_area_code(code)) == zones, code


def test_the_table_is_what_the_generator_makes_of_it(root: object) -> None:
    """To give twins the same again changes nothing, so the shipped file has been through the list of overlays."""
    table = yaml.safe_load((root / "conf" / "zones" / "area_codes.yaml").read_text(encoding="utf-8"))  # type: ignore[operator]
    assert with_twins(table) == table


def test_every_overlay_of_the_list_here_is_one_of_the_generator() -> None:
    together = {frozenset((a, b)) for ground in GROUNDS for a in ground for b in ground if a != b}
    missing = [
        (new, old) for new, olds in RELIEF.items() for old in olds.split() if frozenset((new, old)) not in together
    ]
    assert not missing


def test_twins_by_hand() -> None:
    """x lies over a and b; y over a alone. b keeps its own; what nobody laid over anything is left alone."""
    found = {
        "250": [["BC"], ["A", "B"]],
        "604": [["BC"], ["A"]],
        "778": [["BC"], ["A"]],
        "902": [["NS", "PE"], ["C"]],
        "782": [["NS"], ["C"]],
        "212": [["NY"], ["D"]],
    }
    assert with_twins(found) == {
        "250": [["BC"], ["A", "B"]],
        "604": [["BC"], ["A"]],
        "778": [["BC"], ["A", "B"]],
        "902": [["NS", "PE"], ["C"]],
        "782": [["NS", "PE"], ["C"]],
        "212": [["NY"], ["D"]],
    }
