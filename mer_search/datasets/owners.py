"""The layouts that `synthetic` writes: columns, sheets, headers, names and known quirks of owners.

Invented people and clips under the owners' patterns; no row of theirs. Kept apart from the readers'
tables of columns on purpose: a reader is tested against what its owner ships, not against itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mer_search.datasets.takes import Owner, Take, deal, units_cell, workbook

SMILE, RAISE = ("lip corners", "12"), ("brow raise", "1+2")
FROWN, PRESS, ONE_SIDE = (
    ("brow lowering and nose", "4+9"),
    ("lip press", "24"),
    ("one-sided", "L14"),
)


def shifted(take: Take, onset: int) -> Take:
    """The same take, counted from another frame."""
    by = onset - take.onset
    return replace(take, onset=onset, apex=take.apex + by, offset=take.offset + by)


# CASME II ----------------------------------------------------------------------------------------

CASME2_EMOTIONS = {
    "happiness": SMILE, "surprise": RAISE, "disgust": FROWN, "repression": PRESS,
    "others": ONE_SIDE,
}  # fmt: skip


def casme2_named(take: Take, nth: int) -> Take:
    """A drawn name stays; a full copy's clips are counted."""
    return replace(take, name=take.name or f"EP{nth // 9 + 1:02d}_{nth % 9 + 1:02d}f")


def casme2_frame(take: Take, number: int) -> str:
    return f"CASME2_RAW_selected/sub{take.subject:02d}/{take.name}/img{number}.jpg"


def casme2_sheets(takes: Sequence[Take]) -> dict[str, bytes]:
    """The 2014 coding: blank columns, subjects as text, units as numbers or text."""
    rows: list[tuple[object, ...]] = [
        ("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None,
         "Action Units", "Estimated Emotion")
    ]  # fmt: skip
    for take in takes:
        units = CASME2_EMOTIONS.get(take.emotion, PRESS)[1]
        rows.append((f"{take.subject:02d}", take.name, None, take.onset, take.apex_cell,
                     take.offset, None, units_cell(units), take.emotion))  # fmt: skip
    return {"CASME2-coding-20140508.xlsx": workbook("Sheet1", rows)}


def casme2_full() -> list[Take]:
    """255 clips of 26 subjects; two of these show `others` only; two apexes are no use."""
    special = [
        Take(4, "EP12_01f", "disgust", "", 9, 10, 11, told="/"),
        Take(5, "EP09_05f", "repression", "", 9, 9, 11),
        *(Take(24, name, "sadness", "", 9, 10, 11) for name in ("EP07_01", "EP07_04f", "EP10_03")),
    ]
    most = [subject for subject in range(1, 27) if subject not in (10, 18)]
    rest = {"disgust": 62, "happiness": 32, "repression": 26, "surprise": 25, "sadness": 4,
            "fear": 2}  # fmt: skip
    return [*special, *deal(rest, most), *deal({"others": 99}, range(1, 27))]


# SAMM --------------------------------------------------------------------------------------------

SAMM_EMOTIONS = {
    "Happiness": SMILE, "Surprise": RAISE, "Anger": FROWN, "Contempt": ONE_SIDE, "Other": PRESS,
}  # fmt: skip
SAMM_NUMBERS = (28, 32, *(number for number in range(6, 38) if number not in (8, 27, 28, 29, 32)))
"""The 29 subjects; the first two have the clips whose apexes are known to be wrong."""
SAMM_WRONG = {28: ("028_4_1", 1105, 1143), 32: ("032_3_1", 4930, 1930)}


def samm_named(take: Take, nth: int) -> Take:
    """Clips `SSS_x_y`; the two wrong apexes."""
    known = take.subject <= len(SAMM_NUMBERS)
    subject = SAMM_NUMBERS[take.subject - 1] if known else take.subject + 8
    if nth == 0 and subject in SAMM_WRONG:
        name, apex, told = SAMM_WRONG[subject]
        moved = shifted(take, apex - (take.apex - take.onset))
        return replace(moved, subject=subject, name=name, told=told)
    return replace(take, subject=subject, name=f"{subject:03d}_{nth // 5 + 5}_{nth % 5 + 1}")


def samm_frame(take: Take, number: int) -> str:
    return f"SAMM/{take.subject:03d}/{take.name}/{take.subject:03d}_{number:05d}.jpg"


def samm_sheets(takes: Sequence[Take]) -> dict[str, bytes]:
    """Sheet MICRO_ONLY with its header in the fourteenth row."""
    rows: list[tuple[object, ...]] = [("SAMM Micro-Movements",), *[(None,)] * 12]
    rows.append(
        ("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame",
         "Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes")
    )  # fmt: skip
    roman = ("I", "II", "III", "IV", "V", "VI", "VII")
    for take in takes:
        units = SAMM_EMOTIONS.get(take.emotion, PRESS)[1]
        rows.append((f"{take.subject:03d}", take.name, 1, take.onset, take.apex_cell, take.offset,
                     take.offset - take.onset + 1, "Micro - 1/2", units_cell(units), take.emotion,
                     roman[take.objective - 1], None))  # fmt: skip
    return {"SAMM_Micro_FACS_Codes_v2.xlsx": workbook("MICRO_ONLY", rows)}


def samm_full() -> list[Take]:
    """159 clips of 29 subjects, one of whom shows `Other` only."""
    objective = (24, 13, 20, 8, 3, 7)
    shown = {"Anger": 57, "Happiness": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9, "Fear": 8,
             "Sadness": 6}  # fmt: skip
    return [
        *deal(shown, range(1, 29), objective=objective),
        *deal({"Other": 26}, range(29, 0, -1)),
    ]


# SMIC --------------------------------------------------------------------------------------------

SMIC_EMOTIONS = {"positive": SMILE, "surprise": RAISE, "negative": FROWN}
SMIC_CODES = {"positive": "po", "surprise": "sur", "negative": "ne"}
SMIC_LACKS = {"s1_ne_02", "s2_sur_05"}


def smic_named(take: Take, nth: int) -> Take:
    """Unpadded subjects; takes are counted over a subject's clips, so names never repeat."""
    return replace(take, name=f"s{take.subject}_{SMIC_CODES[take.emotion]}_{nth + 1:02d}")


def smic(camera: str, full: dict[str, int], subjects: int) -> Owner:
    """One camera's layout; every third clip is in another format."""

    def frame(take: Take, number: int) -> str:
        folder = f"{camera}/s{take.subject}/micro/{take.emotion}/{take.name}"
        return f"{folder}/image{559000 + number}.{'bmp' if take.onset % 3 == 0 else 'jpg'}"

    def sheets(takes: Sequence[Take]) -> dict[str, bytes]:
        rows: list[tuple[object, ...]] = [
            ("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", None,
             "FirstF", "LastF", "TotalMF1", "TotalMF2", "TotalVL", "Emotion")
        ]  # fmt: skip
        for take in takes:
            first, last, length = take.onset, take.offset, take.offset - take.onset + 1
            if take.name not in SMIC_LACKS:
                rows.append((take.subject, take.name, None, first, last, None, None, None, first,
                             last, length, None, length, take.emotion))  # fmt: skip
        return {f"SMIC-{camera}-E_annotation.xlsx": workbook(camera, rows)}

    def full_takes() -> list[Take]:
        return deal(full, range(1, subjects + 1))

    return Owner(SMIC_EMOTIONS, smic_named, frame, sheets, full_takes)


# CAS(ME)^3, MMEW, 4DME ---------------------------------------------------------------------------

CASME3_EMOTIONS = {
    "happy": SMILE, "surprise": RAISE, "disgust": FROWN, "sad": PRESS, "others": ONE_SIDE,
}  # fmt: skip


def casme3_named(take: Take, nth: int) -> Take:
    """Two expressions in one recording."""
    again = nth // 26 or ""
    name = f"{'abcdefghijklm'[nth // 2 % 13]}{again}"
    return shifted(replace(take, name=name), 12 + 200 * (nth % 2))


def casme3_frame(take: Take, number: int) -> str:
    return f"part_A/spNO.{take.subject}/{take.name}/color/{number}.jpg"


def casme3_sheets(takes: Sequence[Take]) -> dict[str, bytes]:
    header = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
    rows: list[tuple[object, ...]] = [header]
    rows += [
        (f"spNO.{take.subject}", take.name, take.onset, take.apex, take.offset,
         CASME3_EMOTIONS.get(take.emotion, PRESS)[1], take.objective, take.emotion)
        for take in takes
    ]  # fmt: skip
    return {"cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx": workbook("label", rows)}


def casme3_full() -> list[Take]:
    counts = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57,
              "happy": 55}  # fmt: skip
    return deal(counts, range(1, 101))


MMEW_EMOTIONS = {
    "happiness": SMILE, "surprise": RAISE, "disgust": FROWN, "sadness": PRESS, "anger": ONE_SIDE,
}  # fmt: skip
MMEW_CODES = ("happiness", "surprise", "anger", "disgust", "fear", "sadness", "others")


def mmew_named(take: Take, nth: int) -> Take:
    """Frames are counted from the clip's first."""
    code = MMEW_CODES.index(take.emotion) + 1
    return shifted(replace(take, name=f"S{take.subject:02d}-{code:02d}-{nth + 1:03d}"), 1)


def mmew_frame(take: Take, number: int) -> str:
    return f"Micro_Expression/{take.emotion}/{take.name}/{number}.jpg"


def mmew_sheets(takes: Sequence[Take]) -> dict[str, bytes]:
    rows: list[tuple[object, ...]] = [
        ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units",
         "Estimated Emotion", "remarks")
    ]  # fmt: skip
    rows += [
        (take.subject, take.name, take.onset, take.apex, take.offset,
         units_cell(MMEW_EMOTIONS.get(take.emotion, PRESS)[1]), take.emotion, None)
        for take in takes
    ]  # fmt: skip
    return {"MMEW_Micro_Exp.xlsx": workbook("Sheet1", rows)}


def mmew_full() -> list[Take]:
    counts = {"happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16,
              "sadness": 13, "others": 66}  # fmt: skip
    return deal(counts, range(1, 31))


FOUR_DME_EMOTIONS = {
    "Positive": SMILE, "Surprise": RAISE, "Negative": FROWN, "Repression": PRESS,
    "Others": ONE_SIDE,
}  # fmt: skip


def four_dme_named(take: Take, nth: int) -> Take:
    return replace(take, name=f"clip_{nth + 1:02d}")


def four_dme_frame(take: Take, number: int) -> str:
    return f"gray_micro/{take.subject:02d}/{take.name}/{number}.jpg"


def four_dme_sheets(takes: Sequence[Take]) -> dict[str, bytes]:
    """One-hot columns beside the emotion, one of them with its name."""
    hot = tuple(FOUR_DME_EMOTIONS)
    rows: list[tuple[object, ...]] = [
        ("sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", *hot)
    ]
    rows += [
        (take.subject, take.name, take.emotion, take.onset, take.apex, take.offset,
         FOUR_DME_EMOTIONS[take.emotion][1], *(int(take.emotion == each) for each in hot))
        for take in takes
    ]  # fmt: skip
    return {"4DME_Labelling_Micro_release v1.xlsx": workbook("Sheet1", rows)}


def four_dme_full() -> list[Take]:
    counts = {"Positive": 34, "Negative": 127, "Surprise": 30, "Repression": 6, "Others": 70}
    return deal(counts, range(1, 42))


OWNERS: dict[str, Owner] = {
    "casme2": Owner(CASME2_EMOTIONS, casme2_named, casme2_frame, casme2_sheets, casme2_full),
    "samm": Owner(SAMM_EMOTIONS, samm_named, samm_frame, samm_sheets, samm_full, grey=True),
    "smic-hs": smic("HS", {"negative": 70, "positive": 51, "surprise": 43}, 16),
    "smic-vis": smic("VIS", {"negative": 23, "positive": 28, "surprise": 20}, 8),
    "smic-nir": smic("NIR", {"negative": 23, "positive": 28, "surprise": 20}, 8),
    "casme3": Owner(CASME3_EMOTIONS, casme3_named, casme3_frame, casme3_sheets, casme3_full),
    "mmew": Owner(MMEW_EMOTIONS, mmew_named, mmew_frame, mmew_sheets, mmew_full),
    "4dme": Owner(
        FOUR_DME_EMOTIONS, four_dme_named, four_dme_frame, four_dme_sheets, four_dme_full
    ),
}  # fmt: skip


def named_full(owner: Owner) -> list[Take]:
    """The takes of a full copy under the owner's names."""
    return list(named(owner, owner.full()))


def named(owner: Owner, takes: Iterable[Take]) -> Iterator[Take]:
    """Takes under the owner's names."""
    count: Counter[int] = Counter()
    for take in takes:
        yield owner.named(take, count[take.subject])
        count[take.subject] += 1
