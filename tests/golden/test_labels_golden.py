"""Golden H: colour labels to class indices, exactly as the published programs do it."""

import numpy as np
from golden_weights import DATA

from arseg.data.color_labels import colors_to_indices
from arseg.datasets.camvid.manifest import camvid_classes


def test_colors_become_the_published_indices():
    with np.load(DATA / "H_camvid_labels.npz") as golden:
        np.testing.assert_array_equal(colors_to_indices(golden["color_rgb"], camvid_classes()), golden["label"])
        assert (golden["label"] == 255).any()
        np.testing.assert_array_equal([cls.color for cls in camvid_classes()], golden["palette_rgb"])
        np.testing.assert_array_equal(
            colors_to_indices(golden["palette_rgb"][None], camvid_classes())[0], np.arange(12)
        )
        np.testing.assert_array_equal(colors_to_indices(golden["unlisted_rgb"][None], camvid_classes()), 255)
