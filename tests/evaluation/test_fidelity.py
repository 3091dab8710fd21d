"""PSNR and SSIM inside the head, and what is written of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.evaluation.fidelity import psnr, ssim
from autoseg.evaluation.reconstructions import ReconstructionScores, tabulate

rng = np.random.default_rng(0)
CLEAN = rng.random((12, 14, 16)).astype(np.float32)
EVERYWHERE = np.ones(CLEAN.shape, bool)


def test_psnr_by_hand() -> None:
    clean = np.array([[[0.0, 10.0, 500.0]]], np.float32)
    inside = np.array([[[True, True, False]]])
    assert psnr(clean + 1, clean, inside) == pytest.approx(20)
    assert psnr(clean, clean, inside) == np.inf
    assert np.isnan(psnr(clean, np.zeros_like(clean), inside)) and np.isnan(psnr(clean, clean, np.zeros_like(inside)))


def test_the_library_says_the_same() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    noisy = CLEAN + rng.normal(0, 0.1, CLEAN.shape).astype(np.float32)
    peak = np.ptp(CLEAN)
    assert psnr(noisy, CLEAN, EVERYWHERE) == pytest.approx(metrics.peak_signal_noise_ratio(CLEAN, noisy, data_range=peak))
    full = metrics.structural_similarity(CLEAN, noisy, data_range=peak, full=True)[1]
    assert ssim(noisy, CLEAN, EVERYWHERE) == pytest.approx(full.mean(), abs=1e-6)
    flat = [metrics.structural_similarity(CLEAN[z], noisy[z], data_range=np.ptp(CLEAN[:3]), full=True)[1].mean() for z in range(3)]
    assert ssim(noisy[:3], CLEAN[:3], EVERYWHERE[:3]) == pytest.approx(np.mean(flat), abs=1e-6)


def test_ssim_looks_inside_only() -> None:
    inside = np.zeros(CLEAN.shape, bool)
    inside[:, :4] = True
    far = CLEAN.copy()
    far[:, 9:] += 1
    assert ssim(far, CLEAN, inside) == pytest.approx(1) and ssim(far, CLEAN, EVERYWHERE) < 0.95
    assert np.isnan(ssim(CLEAN[:, :5], CLEAN[:, :5], EVERYWHERE[:, :5])) and np.isnan(ssim(CLEAN, CLEAN * 0, EVERYWHERE))


def test_scores_are_written_with_their_means(tmp_path: Path) -> None:
    rows = [(case, "foreground", {"auroc": auroc, "average_precision": 0.5, "prevalence": 0.1}) for case, auroc in (("a", 0.8), ("b", float("nan")))]
    scores = ReconstructionScores("anomaly", tabulate("anomaly", rows), pooled={"auroc": 0.7})
    csv, document = scores.write(tmp_path)
    table = pd.read_csv(csv)
    assert list(table.columns) == ["case", "target", "region", "scheme", "auroc", "average_precision", "prevalence"]
    content = json.loads(document.read_text())
    assert (
        content["mean"]["foreground"]["auroc"] == 0.8 and content["pooled"] == {"auroc": 0.7} and content["cases"]["b"]["foreground"]["auroc"] is None
    )
