# SPDX-License-Identifier: Apache-2.0
"""Our event files through TensorBoard's own reader."""
import os
import subprocess

import pytest

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

TOOL = os.environ.get("OCTAVO_TENSORBOARD_TOOL")
pytestmark = pytest.mark.skipif(not TOOL, reason="OCTAVO_TENSORBOARD_TOOL names no program")


def test_a_resumed_run_reads_as_one(tmp_path):
    run = tmp_path / "tb"
    subprocess.run([TOOL, str(run), "0", "40"], check=True)
    subprocess.run([TOOL, str(run), "40", "60"], check=True)
    assert len(list(run.glob("events.out.tfevents.*"))) == 2
    reader = event_accumulator.EventAccumulator(str(run), size_guidance={event_accumulator.SCALARS: 0})
    reader.Reload()
    assert reader.Tags()["scalars"] == ["loss", "lr"]
    for tag, value in [("loss", lambda step: 1 / (step + 1)), ("lr", lambda step: step / 1000)]:
        events = reader.Scalars(tag)
        assert [event.step for event in events] == list(range(100))
        for event in events:
            assert event.value == pytest.approx(value(event.step), rel=1e-6)
            assert event.wall_time == 1.7e9 + event.step
