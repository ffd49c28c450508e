"""The same benchmark, marked by a judge."""

from __future__ import annotations

import dataclasses

from tests import eval_task

TRIAL = dataclasses.replace(eval_task.TRIAL, grade=eval_task.judged, needs_judge=True)
TASK = dataclasses.replace(eval_task.TASK, name="judged_capitals", trial=TRIAL)
