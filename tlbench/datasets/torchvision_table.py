"""Which datasets of torchvision are there, how large were they published, and under which licence?"""

from __future__ import annotations

from typing import Any, NamedTuple

Part = tuple[dict[str, Any], ...]  # what torchvision's class is called with, once for each of its splits

TRAIN_FLAG: tuple[Part, Part] = ({"train": True},), ({"train": False},)
TRAIN_TEST: tuple[Part, Part] = ({"split": "train"},), ({"split": "test"},)
TRAIN_VAL_TEST: tuple[Part, Part] = ({"split": "train"}, {"split": "val"}), ({"split": "test"},)
TRAINVAL_TEST: tuple[Part, Part] = ({"split": "trainval"},), ({"split": "test"},)
WHOLE: tuple[Part, Part] = ({},), ()


class Entry(NamedTuple):
    """A dataset as its authors published it."""

    classes: int
    pool: int  # images of train and val; of all where there is no official test part
    test: int | None
    parts: tuple[Part, Part]
    source: str  # the page that gives the counts
    licence: str
    summary: str
    flip: bool  # may an image be mirrored without changing its class?
    by_hand: str  # what to put where, on a machine without a network
    size: int | None = None  # the side that images get, where 256 would be far from theirs


UNSTATED = "not stated by its authors"
RESEARCH = "non-commercial research"
OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
# torchvision offers the training set of the competition's first phase; the later one has 39,209 images.
CLIP_PAGE = "https://arxiv.org/abs/2103.00020, table 9"
CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CARS_PAGE = "https://www.cv-foundation.org/openaccess/content_iccv_workshops_2013/W19/html/Krause_3D_Object_Representations_2013_ICCV_paper.html"  # noqa: E501

TABLE = {
    "CIFAR10": Entry(
        10, 50_000, 10_000, TRAIN_FLAG, CIFAR_PAGE, UNSTATED, "Small photographs of animals and vehicles.", True,
        "cifar-10-batches-py/, from cifar-10-python.tar.gz",
    ),
    "CIFAR100": Entry(
        100, 50_000, 10_000, TRAIN_FLAG, CIFAR_PAGE, UNSTATED, "Small photographs of a hundred kinds of things.", True,
        "cifar-100-python/, from cifar-100-python.tar.gz",
    ),
    "MNIST": Entry(
        10, 60_000, 10_000, TRAIN_FLAG, "http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0", "Handwritten digits.",
        False, "MNIST/raw/, the four files, unpacked",
    ),
    "FashionMNIST": Entry(
        10, 60_000, 10_000, TRAIN_FLAG, "https://github.com/zalandoresearch/fashion-mnist", "MIT", "Grey clothes.",
        True, "FashionMNIST/raw/, the four files, unpacked",
    ),
    "SVHN": Entry(
        10, 73_257, 26_032, TRAIN_TEST, "http://ufldl.stanford.edu/housenumbers/", RESEARCH, "House numbers.", False,
        "train_32x32.mat and test_32x32.mat",
    ),
    "Flowers102": Entry(
        102, 2_040, 6_149, TRAIN_VAL_TEST, f"{OXFORD}/flowers/102/", UNSTATED, "Flowers of Britain.", True,
        "flowers-102/, with jpg/, imagelabels.mat and setid.mat",
    ),
    "OxfordIIITPet": Entry(
        37, 3_680, 3_669, TRAINVAL_TEST, f"{OXFORD}/pets/", "CC BY-SA 4.0", "Breeds of cats and dogs.", True,
        "oxford-iiit-pet/, with images/ and annotations/",
    ),
    "DTD": Entry(
        47, 3_760, 1_880, TRAIN_VAL_TEST, f"{OXFORD}/dtd/", "research", "Textures in the words of people; split 1.",
        True, "dtd/dtd/, from dtd-r1.0.1.tar.gz",
    ),
    "EuroSAT": Entry(
        10, 27_000, None, WHOLE, "https://github.com/phelber/EuroSAT", "MIT", "Land use seen by Sentinel-2.", True,
        "eurosat/2750/, from EuroSAT.zip",
    ),
    "FGVCAircraft": Entry(
        100, 6_667, 3_333, TRAINVAL_TEST, f"{OXFORD}/fgvc-aircraft/", RESEARCH, "Variants of aircraft.", True,
        "fgvc-aircraft-2013b/, from fgvc-aircraft-2013b.tar.gz",
    ),
    "Food101": Entry(
        101, 75_750, 25_250, TRAIN_TEST, "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/", UNSTATED,
        "Dishes; the training labels are known to have errors.", True, "food-101/, from food-101.tar.gz",
    ),
    "GTSRB": Entry(
        43, 26_640, 12_630, TRAIN_TEST, CLIP_PAGE, UNSTATED,
        "German traffic signs; the frames of one drive past a sign stay together.", False,
        "gtsrb/, with GTSRB/Training/, GTSRB/Final_Test/Images/ and GT-final_test.csv", 64,
    ),
    "StanfordCars": Entry(
        196, 8_144, 8_041, TRAIN_TEST, CARS_PAGE, RESEARCH, "Models of cars.", True,
        "stanford_cars/, with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat (no longer offered "
        "by its authors)",
    ),
    "STL10": Entry(
        10, 5_000, 8_000, TRAIN_TEST, "https://cs.stanford.edu/~acoates/stl10/", UNSTATED,
        "Photographs of animals and vehicles.", True, "stl10_binary/, from stl10_binary.tar.gz",
    ),
}  # fmt: skip
