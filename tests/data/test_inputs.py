"""Cases to predict, in every way that users keep their files."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Case
from autoseg.data.inputs import find_all_cases, find_cases
from autoseg.errors import AutosegError
from autoseg.imaging.read import read_image
from autoseg.imaging.sources import Absent, files_of

BRATS = ("FLAIR", "T1", "T1ce", "T2")
RGB = ("R", "G", "B")


def touch(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def describe(root: Path, **content: object) -> None:
    default = {"labels": {"background": 0, "x": 1}, "numTraining": 1, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(default | content))


def found(cases: Iterable[Case]) -> dict[str, list[str]]:
    return {case.name: [path.name for path in case.files] for case in cases}


def brats_case(root: Path, name: str, endings: Sequence[str] = ("_flair", "_t1", "_t1ce", "_t2"), suffix: str = ".nii.gz") -> Path:
    touch(root / name, *(f"{Path(name).name}{ending}{suffix}" for ending in endings))
    return root / name


def test_channels_reach_the_model_in_its_order(tmp_path: Path) -> None:
    folder = tmp_path / "BraTS20_Training_001"
    folder.mkdir()
    for value, ending in enumerate(("flair", "t1", "t1ce", "t2"), start=1):
        sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), value, np.int16)), str(folder / f"{folder.name}_{ending}.nii.gz"))
    (case,) = find_cases(tmp_path, ("t1gd", "T2w", "Flair"))
    assert read_image(case.channels).array[:, 0, 0, 0].tolist() == [3, 4, 1]


class TestSpareChannels:
    """T1 and T2 are places 1 and 3."""

    def held(self, cases: Sequence[Case]) -> dict[str, list[str]]:
        return {
            case.name: [str(channel) if isinstance(channel, Absent) else files_of(channel)[0].name for channel in case.channels] for case in cases
        }

    def test_folders_of_brats(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "BraTS20_Training_001", ("_flair", "_t1ce"))
        brats_case(tmp_path, "BraTS20_Training_002", ("_flair", "_t1ce", "_t2"))
        cases = find_cases(tmp_path, BRATS, spare={1, 3})
        assert self.held(cases) == {
            "BraTS20_Training_001": ["BraTS20_Training_001_flair.nii.gz", "(none)", "BraTS20_Training_001_t1ce.nii.gz", "(none)"],
            "BraTS20_Training_002": [
                "BraTS20_Training_002_flair.nii.gz", "(none)", "BraTS20_Training_002_t1ce.nii.gz", "BraTS20_Training_002_t2.nii.gz",
            ],
        }  # fmt: skip
        assert [path.name for path in cases[0].scans] == ["BraTS20_Training_001_flair.nii.gz", "BraTS20_Training_001_t1ce.nii.gz"]
        with pytest.raises(AutosegError, match=r"001: missing T1ce"):
            brats_case(tmp_path / "other", "BraTS20_Training_001", ("_flair", "_t1"))
            find_cases(tmp_path / "other", BRATS, spare={1, 3})

    def test_files_by_name(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_flair.nii.gz", "a_t1ce.nii.gz", "b_T1gd.nii.gz", "b_flair.nii.gz")
        assert self.held(find_cases(tmp_path, BRATS, spare={1, 3})) == {
            "a": ["a_flair.nii.gz", "(none)", "a_t1ce.nii.gz", "(none)"],
            "b": ["b_flair.nii.gz", "(none)", "b_T1gd.nii.gz", "(none)"],
        }

    def test_bare_numbers_are_complete(self, tmp_path: Path) -> None:
        """Nobody can tell the second channel of a case from the first of another."""
        touch(tmp_path, "a_0000.nii.gz", "a_0002.nii.gz")
        with pytest.raises(AutosegError, match=r"a: missing channel T1 \(0001\), T2 \(0003\)"):
            find_cases(tmp_path, BRATS, spare={1, 3})

    def test_numbers_that_a_description_explains(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTs/a_0000.nii.gz", "imagesTs/a_0002.nii.gz")
        describe(tmp_path, channel_names=dict(enumerate(BRATS)))
        assert self.held(find_cases(tmp_path, BRATS, spare={1, 3})) == {"a": ["a_0000.nii.gz", "(none)", "a_0002.nii.gz", "(none)"]}
        (tmp_path / "imagesTs" / "a_0002.nii.gz").rename(tmp_path / "imagesTs" / "a_0001.nii.gz")
        with pytest.raises(AutosegError, match=r"a: missing channel T1ce \(0002\)"):
            find_cases(tmp_path, BRATS, spare={1, 3})

    def test_files_of_no_channel_are_not_passed_over(self, tmp_path: Path) -> None:
        touch(tmp_path, "p1_flair.nii.gz", "p2.nii.gz")
        with pytest.raises(AutosegError, match=r"p2\.nii\.gz in .*: the name ends with none of the model's channels"):
            find_cases(tmp_path, BRATS, spare={1, 2, 3})

    def test_a_description_of_the_one_channel_that_is_seen(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTs/a_0000.nii.gz")
        describe(tmp_path, channel_names={"0": "T1ce"})
        assert self.held(find_cases(tmp_path, BRATS, spare={0, 1, 3})) == {"a": ["(none)", "(none)", "a_0000.nii.gz", "(none)"]}

    def test_a_description_that_names_fewer(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTs/a_0000.nii.gz", "imagesTs/a_0001.nii.gz")
        describe(tmp_path, channel_names={"0": "T1ce", "1": "FLAIR"})
        assert self.held(find_cases(tmp_path, BRATS, spare={1, 3})) == {"a": ["a_0001.nii.gz", "(none)", "a_0000.nii.gz", "(none)"]}
        with pytest.raises(AutosegError, match="T2 is not"):
            find_cases(tmp_path, BRATS, spare={1})


class TestBrats:
    def test_segmentations_are_not_needed_and_not_used(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "HGG/Brats18_2013_2_1", ("_flair", "_t1", "_t1ce", "_t2", "_seg"))
        brats_case(tmp_path, "LGG/Brats18_2013_9_1", suffix=".nii")
        touch(tmp_path, "survival.csv", "HGG/Brats18_2013_2_1/._Brats18_2013_2_1_t1.nii.gz", "HGG/Brats18_2013_2_1/other.nii")
        cases = find_cases(tmp_path, BRATS)
        assert found(cases) == {
            "Brats18_2013_2_1": [f"Brats18_2013_2_1_{one}.nii.gz" for one in ("flair", "t1", "t1ce", "t2")],
            "Brats18_2013_9_1": [f"Brats18_2013_9_1_{one}.nii" for one in ("flair", "t1", "t1ce", "t2")],
        }
        assert all(case.label is None for case in cases)

    def test_a_model_may_need_fewer_modalities(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "BraTS20_Training_001", ("_flair", "_t1ce"))
        assert found(find_cases(tmp_path, ("T1ce",))) == {"BraTS20_Training_001": ["BraTS20_Training_001_t1ce.nii.gz"]}

    def test_other_spellings_match(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "BraTS-GLI-00001-000", ("-t1C", "-t1n", "-t2W", "-t2f"))
        assert list(found(find_cases(tmp_path, BRATS)).values()) == [[f"BraTS-GLI-00001-000{one}.nii.gz" for one in ("-t2f", "-t1n", "-t1C", "-t2W")]]

    @pytest.mark.parametrize(
        ("folder", "prefix", "name"), [("BraTS2021_00495", "00000057_brain", "BraTS2021_00495"), ("in", "anna", "anna"), ("in", "", "in")]
    )
    def test_one_case_folder(self, tmp_path: Path, folder: str, prefix: str, name: str) -> None:
        stems = [f"{prefix}_{one}" if prefix else one for one in ("flair", "t1", "t1ce", "t2", "seg")]
        touch(tmp_path / folder, *(f"{stem}.nii.gz" for stem in stems))
        assert found(find_cases(tmp_path / folder, BRATS)) == {name: [f"{stem}.nii.gz" for stem in stems[:4]]}

    def test_case_355_alone(self, tmp_path: Path) -> None:
        where = brats_case(tmp_path, "BraTS20_Training_355")
        touch(where, "W39_1998.09.19_Segm.nii")
        assert list(found(find_cases(where, ("T1",))).values()) == [["BraTS20_Training_355_t1.nii.gz"]]

    def test_all_incomplete_cases_are_listed(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "BraTS20_Validation_001")
        brats_case(tmp_path, "BraTS20_Validation_002", ("_flair", "_t1", "_t2"))
        brats_case(tmp_path, "BraTS20_Validation_003", ("_flair", "_t1", "_t1ce", "_t2", "_t2w"))
        brats_case(tmp_path, "HGG/BraTS20_Validation_001")
        with pytest.raises(AutosegError) as caught:
            find_cases(tmp_path, BRATS)
        text = str(caught.value)
        assert "BraTS20_Validation_002: missing T1ce; found are BraTS20_Validation_002_flair.nii.gz" in text
        assert "BraTS20_Validation_003: 2 files for T2" in text and "BraTS20_Validation_001: two folders have this name" in text

    def test_asked_for_but_the_model_is_another(self, tmp_path: Path) -> None:
        brats_case(tmp_path, "BraTS20_Training_001")
        with pytest.raises(AutosegError, match="needs the channel CT, which BraTS does not have"):
            find_cases(tmp_path, ("CT",), layout="brats")


class TestNnunet:
    def test_test_images_come_first(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz", "imagesTs/._b_0000.nii.gz")
        describe(tmp_path, channel_names={"0": "CT"})
        assert found(find_cases(tmp_path, ("CT",))) == {"b": ["b_0000.nii.gz"]}

    def test_training_images_otherwise(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTr/a_0000.nii.gz")
        (tmp_path / "imagesTs").mkdir()
        describe(tmp_path, channel_names={"0": "CT"})
        (case,) = find_cases(tmp_path, ("CT",))
        assert (case.name, case.label) == ("a", None)

    def test_channels_are_matched_by_name(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"imagesTs/a_000{number}.nii.gz" for number in range(4)))
        describe(tmp_path, channel_names={"0": "T1w", "1": "T1gd", "2": "T2w", "3": "flair"})
        assert found(find_cases(tmp_path, BRATS)) == {"a": [f"a_000{number}.nii.gz" for number in (3, 0, 1, 2)]}
        assert found(find_cases(tmp_path, ("T2",))) == {"a": ["a_0002.nii.gz"]}

    def test_names_that_do_not_agree(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTs/a_0000.nii.gz")
        describe(tmp_path, channel_names={"0": "MRI"})
        with pytest.raises(AutosegError, match=r"needs the channels CT; dataset\.json in .* names MRI"):
            find_cases(tmp_path, ("CT",))
        assert found(find_cases(tmp_path / "imagesTs", ("CT",))) == {"a": ["a_0000.nii.gz"]}

    def test_equal_names_are_taken_in_order(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTs/a_0000.nii.gz", "imagesTs/a_0001.nii.gz")
        describe(tmp_path, channel_names={"0": "MRI", "1": "MRI"})
        assert found(find_cases(tmp_path, ("MRI", "MRI"))) == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"]}

    def test_explicit_paths(self, tmp_path: Path) -> None:
        touch(tmp_path, "x/one.nii.gz", "x/two.nii.gz", "x/mask.nii.gz")
        describe(
            tmp_path, channel_names={"0": "T1", "1": "T2"}, dataset={"p": {"images": ["x/one.nii.gz", "x/two.nii.gz"], "label": "x/mask.nii.gz"}}
        )
        assert found(find_cases(tmp_path, ("T2", "T1"))) == {"p": ["two.nii.gz", "one.nii.gz"]}


class TestDecathlon:
    def test_test_list_comes_first(self, tmp_path: Path) -> None:
        self._make(tmp_path)
        assert found(find_cases(tmp_path, BRATS)) == {"BRATS_485": ["BRATS_485.nii.gz"]}

    def test_training_images_otherwise(self, tmp_path: Path) -> None:
        self._make(tmp_path)
        (tmp_path / "imagesTs" / "BRATS_485.nii.gz").unlink()
        (case,) = find_cases(tmp_path, BRATS)
        assert (case.name, case.label) == ("BRATS_001", None)

    def test_one_file_cannot_be_reordered(self, tmp_path: Path) -> None:
        self._make(tmp_path)
        for names in (("T1", "FLAIR", "T1ce", "T2"), ("FLAIR", "T1")):
            with pytest.raises(AutosegError, match="holds the channels FLAIR, T1w, t1gd, T2w in one file"):
                find_cases(tmp_path, names)

    @staticmethod
    def _make(root: Path) -> None:
        touch(root, "imagesTr/BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz", "imagesTs/._BRATS_485.nii.gz")
        modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
        training = [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}]
        describe(root, modality=modality, labels={"0": "background", "1": "edema"}, training=training, test=["./imagesTs/BRATS_485.nii.gz"])


class TestFiles:
    def test_numbers(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_0001.nii.gz", "a_0000.nii.gz", "b_0000.nii", "b_0001.nii.gz", "notes.txt", "._c_0000.nii.gz")
        assert found(find_cases(tmp_path, ("CT", "PET"))) == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b": ["b_0000.nii", "b_0001.nii.gz"]}

    def test_missing_numbers_are_listed(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_0001.nii.gz", "b_0000.nii", "c_0000.nii", "c_0001.nii")
        with pytest.raises(AutosegError) as caught:
            find_cases(tmp_path, ("CT", "PET"))
        assert "a: missing channel CT (0000); found are a_0001.nii.gz" in str(caught.value) and "b: missing channel PET (0001)" in str(caught.value)

    def test_more_numbers_than_channels(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"{case}_000{number}.nii.gz" for case in "ab" for number in range(4)))
        with pytest.raises(AutosegError, match=r"a: a_0002.nii.gz, a_0003.nii.gz is beyond the model's 2 channels"):
            find_cases(tmp_path, ("CT", "PET"))

    def test_some_with_numbers_and_some_without(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_0000.nii.gz", "b.nii.gz")
        with pytest.raises(AutosegError, match=r"end with a channel's number \(a_0000.nii.gz\) and some do not \(b.nii.gz\)"):
            find_cases(tmp_path, ("CT",))

    @pytest.mark.parametrize("files", [("a.nii.gz", "b.nrrd"), ("scan_2020.nii.gz", "scan_2021.nii.gz"), ("old_2020.mha", "young.mha")])
    def test_whole_files_for_one_channel(self, tmp_path: Path, files: tuple[str, ...]) -> None:
        assert list(found(find_cases(touch(tmp_path, *files), ("CT",))).values()) == [[file] for file in files]

    def test_whole_files_for_several_channels(self, tmp_path: Path) -> None:
        touch(tmp_path, "BRATS_485.nii.gz", "BRATS_486.nii.gz")
        assert found(find_cases(tmp_path, BRATS)) == {"BRATS_485": ["BRATS_485.nii.gz"], "BRATS_486": ["BRATS_486.nii.gz"]}

    def test_same_case_twice(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"a: two files make this case: a.nii and a.nii.gz"):
            find_cases(touch(tmp_path, "a.nii", "a.nii.gz"), ("CT",))

    def test_names(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_ct.nii.gz", "a-PET.nii.gz", "b_PET.nii", "b_CT.nii", "b_seg.nii.gz")
        assert found(find_cases(tmp_path, ("PET", "CT"))) == {"a": ["a-PET.nii.gz", "a_ct.nii.gz"], "b": ["b_PET.nii", "b_CT.nii"]}

    def test_longest_name_wins(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_post.nrrd", "a_early_post.nrrd")
        assert found(find_cases(tmp_path, ("post", "early_post"))) == {"a": ["a_post.nrrd", "a_early_post.nrrd"]}

    def test_names_of_brats_in_one_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"{case}_{one}.nii.gz" for case in "ab" for one in ("t2f", "t1n", "t1c", "t2w", "seg")))
        assert found(find_cases(tmp_path, BRATS)) == {case: [f"{case}_{one}.nii.gz" for one in ("t2f", "t1n", "t1c", "t2w")] for case in "ab"}
        assert found(find_cases(tmp_path, ("T1ce",))) == {case: [f"{case}_t1c.nii.gz"] for case in "ab"}

    def test_missing_names_are_listed(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_flair.nii.gz", "a_t1.nii.gz", "a_t2.nii.gz", "b_flair.nii.gz")
        with pytest.raises(AutosegError) as caught:
            find_cases(tmp_path, BRATS)
        assert "a: missing channel T1ce; found are a_flair.nii.gz" in str(caught.value) and "b: missing channel T1" in str(caught.value)

    def test_one_channel_by_two_names(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match="a: several files for T1ce"):
            find_cases(touch(tmp_path, "a_flair.nii", "a_t1.nii", "a_t1c.nii", "a_t1gd.nii", "a_t2.nii", "b_t1c.nii"), BRATS)

    def test_another_modality_is_never_taken_for_the_model_s(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"b_t2.nii in .* ends with none of the model's channels T1"):
            find_cases(touch(tmp_path, "a_t1.nii", "b_t2.nii"), ("T1",))
        with pytest.raises(AutosegError, match=r"b_t2.nii in .* ends with none"):
            find_cases(tmp_path / "b_t2.nii", ("T1",))

    def test_a_file_of_no_channel_is_not_passed_over(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"c.nii in .* ends with none of the model's channels CT, PET"):
            find_cases(touch(tmp_path, "a_ct.nii", "a_pet.nii", "b_ct.nii", "b_pet.nii", "c.nii"), ("CT", "PET"))

    def test_whole_files_that_happen_to_end_with_the_channel(self, tmp_path: Path) -> None:
        assert list(found(find_cases(touch(tmp_path, "abdomen_ct.nii", "thorax.nii"), ("CT",)))) == ["abdomen_ct", "thorax"]

    @pytest.mark.parametrize(("files", "names"), [(("x.png", "y.png"), ["x", "y"]), (("x_0000.png", "y_0000.png"), ["x", "y"])])
    def test_colour_pictures(self, tmp_path: Path, files: tuple[str, ...], names: list[str]) -> None:
        assert found(find_cases(touch(tmp_path, *files), RGB)) == {name: [file] for name, file in zip(names, files, strict=True)}

    def test_running_numbers_of_pictures(self, tmp_path: Path) -> None:
        files = [f"frame_{number:04d}.png" for number in range(12)]
        touch(tmp_path, *files)
        for names in (RGB, ("grey",)):
            assert list(found(find_cases(tmp_path, names)).values()) == [[file] for file in files]

    def test_one_file(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_0000.nii.gz", "b.nii.gz", "c_ct.nrrd")
        assert found(find_cases(tmp_path / "a_0000.nii.gz", ("CT",))) == {"a": ["a_0000.nii.gz"]}
        assert found(find_cases(tmp_path / "b.nii.gz", BRATS)) == {"b": ["b.nii.gz"]}
        assert found(find_cases(tmp_path / "c_ct.nrrd", ("CT",))) == {"c": ["c_ct.nrrd"]}

    def test_one_file_of_several(self, tmp_path: Path) -> None:
        touch(tmp_path, "a_flair.nii.gz", "a_0000.nii.gz")
        with pytest.raises(AutosegError, match=r"a: missing channel T1, T1ce, T2; found are a_flair.nii.gz"):
            find_cases(tmp_path / "a_flair.nii.gz", BRATS)
        with pytest.raises(AutosegError, match=r"a: missing channel T1 \(0001\)"):
            find_cases(tmp_path / "a_0000.nii.gz", BRATS)

    def test_a_layout_can_be_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "imagesTr/a_0000.nii.gz", "b_0000.nii.gz")
        describe(tmp_path, channel_names={"0": "CT"})
        assert list(found(find_cases(tmp_path, ("CT",)))) == ["a"]
        assert list(found(find_cases(tmp_path, ("CT",), layout="files"))) == ["b"]
        with pytest.raises(AutosegError, match=r"no layout 'bids'. Known are: lgg, nnunet, decathlon, coco, brats, files"):
            find_cases(tmp_path, ("CT",), layout="bids")

    def test_images_beside_a_dataset_json(self, tmp_path: Path) -> None:
        touch(tmp_path, "b_0000.nii.gz")
        describe(tmp_path, channel_names={"0": "CT"})
        assert list(found(find_cases(tmp_path, ("CT",)))) == ["b"]


class TestNothing:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match="gone does not exist"):
            find_cases(tmp_path / "gone", BRATS)

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"no images to predict: the folder is empty. Looked for files <case>_0000"):
            find_cases(tmp_path, BRATS)

    def test_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"no images to predict: found are a.txt, b.txt"):
            find_cases(touch(tmp_path, "a.txt", "b.txt"), BRATS)

    def test_no_image_file(self, tmp_path: Path) -> None:
        with pytest.raises(AutosegError, match=r"a.txt is no image that can be read"):
            find_cases(touch(tmp_path, "a.txt") / "a.txt", BRATS)


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs the real data")
def test_real_folders() -> None:
    data = Path(os.environ["AUTOSEG_TEST_DATA"])
    assert len(find_cases(data / "Dataset004_Hippocampus", ("MRI",))) == 200
    assert len(find_cases(data / "brats_as_downloaded", BRATS)) == 9
    (case,) = find_cases(data / "brats_as_downloaded" / "BraTS2021_01476", BRATS)
    assert case.name == "BraTS2021_01476"


def test_several_sources_are_one_set_of_cases(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("x", "y") if folder == "a" else ("z",):
            (tmp_path / folder / f"{folder}{name}_0000.nii.gz").touch()
            (tmp_path / folder / f"{folder}{name}_0001.nii.gz").touch()
    folders = find_all_cases([tmp_path / "b", tmp_path / "a"], ["one", "two"])
    assert [case.name for case in folders] == ["ax", "ay", "bz"]
    files = find_all_cases(sorted(tmp_path.glob("*/*.nii.gz")), ["one", "two"])
    assert [(case.name, case.channels) for case in files] == [(case.name, case.channels) for case in folders]
    with pytest.raises(AutosegError, match="Two cases are called ax"):
        find_all_cases([tmp_path / "a", tmp_path / "a"], ["one", "two"])
