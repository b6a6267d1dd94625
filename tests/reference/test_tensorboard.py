# SPDX-License-Identifier: Apache-2.0
"""Our event files through TensorBoard's own reader."""
import pytest
from tensorboard.backend.event_processing import event_accumulator

import common


def test_a_resumed_run_reads_as_one(tmp_path):
    run = tmp_path / "tb"
    common.run(common.program("tensorboard_tool"), run, 0, 40)
    common.run(common.program("tensorboard_tool"), run, 40, 60)
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
