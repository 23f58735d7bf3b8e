import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from faceseal.errors import PhotoError
from faceseal.evaluation import pictures, report
from faceseal.evaluation.figures import compute_figures
from faceseal.evaluation.goals import Line, at_least, at_most, lines
from faceseal.evaluation.groups import by_luminance
from faceseal.evaluation.pairs import count_pairs, read_groups, read_pairs
from faceseal.evaluation.person import About, Appearance, from_bytes, to_bytes
from faceseal.evaluation.recognized import BEST_OF_KEYS, CLEAN, recognition_figures
from faceseal.evaluation.speed import Speed, keep_speed, kept_speed
from faceseal.evaluation.verification import Share, cosines
from faceseal.evaluation.versions import Version

LIKENESS = {"net": cosines}


def figures_of(people, groups=None, speed=None, classify=False):
    return compute_figures(people, LIKENESS, groups or {}, speed, classify=classify)


def without_second_photo(person):
    blind = replace(person.embeddings["net"], second=np.full(32, np.nan))
    return replace(person, embeddings={"net": blind}, squares={})


def line_named(found, name: str) -> Line:
    (line,) = [line for line in lines(found) if line.name == name]
    return line


def test_a_persons_file_brings_everything_back(person):
    kept = replace(person("a", 1), panes=[np.full((4, 4, 3), value, np.uint8) for value in (1, 2, 3)])
    again = from_bytes(to_bytes(kept))
    assert again.about == kept.about
    assert all(np.array_equal(x, y) for x, y in zip(again.panes, kept.panes, strict=True))
    assert again.squares.keys() == kept.squares.keys()
    for part, value in vars(kept.embeddings["net"]).items():
        assert np.array_equal(getattr(again.embeddings["net"], part), value)


def test_a_person_without_a_second_face_is_kept_too(person):
    made = person("a", 1, sealed=False)
    missing = replace(made.embeddings["net"], second=np.full(32, np.nan))
    again = from_bytes(to_bytes(replace(made, embeddings={"net": missing})))
    assert np.isnan(again.embeddings["net"].second).all()
    assert again.about.sealed is None


def test_a_truncated_or_foreign_file_is_no_person(person):
    content = to_bytes(person("a", 1))
    buffer = io.BytesIO()
    np.savez(buffer, other=np.zeros(3))
    for wrong in (b"", content[:-100], b"not a file", buffer.getvalue()):
        with pytest.raises(ValueError, match="not a person"):
            from_bytes(wrong)


def test_people_are_recognized_when_restored_and_not_when_anonymized(person):
    found = recognition_figures([person(str(seed), seed) for seed in range(40)], "net", cosines)
    assert found.impostors == 40 * 39
    assert found.acceptance[CLEAN].value == found.acceptance[Version.RESTORED].value == 1.0
    assert found.acceptance[Version.ANONYMIZED].value < 0.1
    assert found.acceptance[Version.ANONYMIZED].count <= found.acceptance[BEST_OF_KEYS].count
    assert found.cosine[Version.RESTORED] > 0.9 > 0.2 > abs(found.cosine[Version.ANONYMIZED])
    assert abs(found.diversity) < 0.1


def test_a_photo_that_was_not_sealed_counts_as_not_restored_but_not_as_anonymized(person):
    people = [person(str(seed), seed, sealed=seed >= 3) for seed in range(30)]
    found = recognition_figures(people, "net", cosines)
    assert (found.acceptance[CLEAN].count, found.acceptance[CLEAN].of) == (30, 30)
    assert (found.acceptance[Version.RESTORED].count, found.acceptance[Version.RESTORED].of) == (27, 30)
    assert found.acceptance[Version.ANONYMIZED].of == found.acceptance[Version.WRONG_KEY].of == 27


def test_whoever_has_no_face_in_the_second_photo_is_left_out_of_recognition(person):
    people = [person(str(seed), seed) for seed in range(10)]
    found = recognition_figures([without_second_photo(people[0]), *people[1:]], "net", cosines)
    assert found.acceptance[CLEAN].of == found.acceptance[Version.RESTORED].of == 9


def test_whoever_has_a_second_photo_and_no_face_in_the_first_counts_as_not_recognized(person):
    people = [person(str(seed), seed) for seed in range(10)]
    faceless = replace(people[0], about=About("0", "NoFaceFound", None), embeddings={})
    found = recognition_figures([faceless, *people[1:]], "net", cosines)
    assert (found.acceptance[CLEAN].count, found.acceptance[CLEAN].of) == (9, 10)
    found = recognition_figures([replace(faceless, squares={}), *people[1:]], "net", cosines)
    assert (found.acceptance[CLEAN].count, found.acceptance[CLEAN].of) == (9, 9)


def test_one_person_is_not_enough_for_recognition(person):
    assert recognition_figures([person("a", 1)], "net", cosines) is None


def test_a_failure_lowers_the_quantiles_and_not_the_least(person):
    people = [person(str(seed), seed, psnr=35.0 + seed) for seed in range(9)] + [person("x", 99, sealed=False)]
    found = figures_of(people).fidelity[Version.RESTORED]
    assert found.median == 38.5
    assert found.fifth < 35
    assert found.least == 35.0
    assert figures_of(people).outcomes == {"sealed": 9, "FidelityTooLow": 1}


def test_thirds_by_luminance_are_the_darkest_and_the_lightest(person):
    people = [person(str(light), light, light=float(light)) for light in (90, 10, 50, 20, 80, 60)]
    thirds = by_luminance([*people, person("x", 1, sealed=False)])
    assert {name: [p.about.identity for p in who] for name, who in thirds.items()} == {
        "darkest third": ["10", "20"],
        "lightest third": ["80", "90"],
    }


def test_groups_are_read_and_reported(tmp_path, person):
    (tmp_path / "groups.csv").write_text("identity,group\n1,children\n2,children\n2,glasses\n")
    groups = read_groups(tmp_path / "groups.csv")
    assert groups == {"children": frozenset({"1", "2"}), "glasses": frozenset({"2"})}
    people = [person(str(seed), seed, psnr=30.0 + seed, sealed=seed != 1) for seed in range(9)]
    children = next(group for group in figures_of(people, groups).groups if group.name == "children")
    assert (children.people, children.sealed.count, children.psnr) == (2, 1, 16.0)
    assert (children.restored["net"].count, children.restored["net"].of) == (1, 2)


def test_groups_of_people_without_second_photos_tell_likeness_but_not_recognition(person):
    people = [without_second_photo(person(str(seed), seed)) for seed in range(4)]
    found = figures_of(people, {"children": frozenset("01")})
    assert found.recognition == {}
    header, rows = report.group_table(found)
    (children,) = [dict(zip(header, row, strict=True)) for row in rows if row[0] == "children"]
    assert children["net: TAR restored"] == "-"
    assert -1 < float(children["net: cosine anonymized"]) < 1


def test_a_groups_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "groups.csv").write_text("name,kind\n1,children\n")
    with pytest.raises(PhotoError, match="columns identity and group"):
        read_groups(tmp_path / "groups.csv")


def test_pairs_are_read_in_their_order_up_to_a_limit(tmp_path, pairs_file):
    assert [pair.identity for pair in read_pairs(pairs_file, 2)] == ["collins", "hopper"]
    assert (count_pairs(pairs_file), count_pairs(pairs_file, 3)) == (4, 3)
    (tmp_path / "other.zip").write_bytes(b"no archive")
    with pytest.raises(PhotoError, match="archive of pairs"):
        count_pairs(tmp_path / "other.zip")


@pytest.mark.parametrize(
    ("figure", "target", "met"),
    [
        (0.98, at_least(0.97), True),
        (0.96, at_least(0.97), False),
        (Share(1, 300), at_most(0.005), True),
        (Share(2, 300), at_most(0.005), False),
        (None, at_most(1.0), None),
        (Share(0, 0), at_most(1.0), None),
        (0.5, None, None),
    ],
)
def test_a_goal_is_met_missed_or_not_to_be_judged(figure, target, met):
    assert Line("a goal", figure, target).met is met


def test_the_table_judges_each_goal_and_shows_targets_and_publications(person):
    people = [person(str(seed), seed) for seed in range(30)]
    slow = Speed((2.0, 5.0, 4.0), 2)
    found = figures_of(people, speed=slow)
    restored = line_named(found, "net: TAR restored")
    assert (restored.met, str(restored.target)) == (True, ">= 0.98 of clean")
    assert ".705 / .702" in restored.published
    assert line_named(found, "PSNR in the mask, median").met
    assert line_named(found, "anonymizing a face, alone, threads: 2").words[1:4] == ("<= 3", "4.00 s", "NOT MET")
    assert line_named(found, "net: TAR WebP Q80").words[2:5] == ("-", "-", "-")


def test_the_detector_and_the_mouth_are_counted(person):
    missed = person("0", 0)
    looks = {Version.ANONYMIZED: Appearance(None, 9.0, 0.3)}
    figures = replace(missed.about.sealed, appearances=looks)
    people = [replace(missed, about=replace(missed.about, sealed=figures)), *(person(str(s), s) for s in range(1, 4))]
    found = figures_of(people).appearance[Version.ANONYMIZED]
    assert (found.detected.count, found.same_mouth.count, found.same_pose.count) == (3, 3, 3)
    assert found.landmark_distance == pytest.approx(0.05)
    assert found.pose == pytest.approx((9 + 3 * 4) / 4)


def test_random_squares_are_not_told_apart_and_frechet_distances_are_like_the_real_ones(person):
    found = figures_of([person(str(seed), seed) for seed in range(40)], classify=True).distinction["anonymized"]
    low, high = found.svm["net"].interval
    assert low < 0.5 < high
    assert found.pixels.of == 80
    anonymized, real = found.frechet["net"]
    assert found.half == 20
    assert 0.5 < anonymized / real < 2


def test_reports_can_be_read_by_machines(person):
    people = [person(str(seed), seed, sealed=seed > 0) for seed in range(6)]
    found = figures_of(people)
    content = json.loads(report.as_json(found, "model x, profile y"))
    assert content["figures"]["sealed"]["value"] == pytest.approx(5 / 6)
    assert len(content["table"]) == len(lines(found))
    rows = list(csv.DictReader(io.StringIO(report.as_csv(people, LIKENESS).decode())))
    assert [row["outcome"] for row in rows] == ["FidelityTooLow", *["sealed"] * 5]
    assert rows[0]["restored psnr"] == ""
    assert float(rows[1]["restored psnr"]) == 40.0
    assert float(rows[1]["net score restored"]) > 0.8


def test_the_markdown_table_has_as_many_cells_in_every_row(person):
    text = report.as_markdown(figures_of([person(str(seed), seed) for seed in range(6)]), "model x")
    table = text.split("\n\n")[1].splitlines()
    assert len({row.count(" | ") for row in table}) == 1
    assert "| PSNR in the mask, median | >= 38 | 40.0 dB | met |" in text
    assert "darkest third" in text


def test_the_pictures_are_pictures(person):
    people = [person(str(seed), seed) for seed in range(6)]
    shown = [replace(one, panes=[np.full((240, 240, 3), 40 * i, np.uint8) for i in range(6)]) for one in people[:3]]
    from PIL import Image

    with Image.open(io.BytesIO(pictures.contact_sheet([*shown, *people[3:]]))) as sheet:
        assert sheet.size == (2 * 6 * 240 + 16, 24 + 2 * 240)
        assert sheet.getpixel((2 * 240 + 5, 24 + 5)) == (80, 80, 80)
    with Image.open(io.BytesIO(pictures.roc_plot(figures_of(people)))) as plot:
        assert plot.format == "PNG"
        assert len(plot.convert("RGB").getcolors(1 << 20)) > 20


def test_with_fewer_keys_the_restored_face_keeps_its_column(person):
    panes = [np.full((240, 240, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    from PIL import Image

    with Image.open(io.BytesIO(pictures.contact_sheet([replace(person("a", 1), panes=panes)]))) as sheet:
        values = [sheet.getpixel((240 * column + 5, 30))[0] for column in range(6)]
    assert values == [10, 20, 255, 255, 30, 40]


def test_kept_speed_is_read_back_and_anything_else_is_none(tmp_path):
    keep_speed(Speed((1.5, 2.5), 2), tmp_path / "speed.json")
    assert kept_speed(tmp_path / "speed.json") == Speed((1.5, 2.5), 2)
    assert kept_speed(tmp_path / "other.json") is None
    (tmp_path / "broken.json").write_text('{"seconds": 3}')
    assert kept_speed(tmp_path / "broken.json") is None
