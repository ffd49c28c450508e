"""Running programs that a model wrote: isolated, limited, and unable to forge their verdict.

with sandbox() as box:
    outcomes = box.run([Program(code, test, entry)])
"""

from __future__ import annotations

from evollab.sandbox.box import Box, sandbox
from evollab.sandbox.program import Level, Outcome, Program, Verdict
from evollab.sandbox.selftest import SelfTest, selftest

__all__ = ["Box", "Level", "Outcome", "Program", "SelfTest", "Verdict", "sandbox", "selftest"]
