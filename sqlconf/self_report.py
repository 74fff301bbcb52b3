"""Ask the model how sure it is (arXiv 2506.17203, third family). Cheap, and overconfident: worth fusing,
not trusting.
"""

from collections.abc import Sequence

from sqlconf.signal import Answer, Cost, Model, Reading, one_each


class SelfReport:
    name = "self_report"
    cost = Cost.SCORING

    def __init__(self, model: Model):
        self.model = model

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        reports = one_each("self-reports", self.model.self_report(answers), answers)
        return [self._read(report) for report in reports]

    def _read(self, report: float | None) -> Reading:
        if report is None:
            return Reading(self.name, None, note="the model does not report on itself")
        if not 0.0 <= report <= 1.0:
            return Reading(self.name, None, note=f"the model reported {report}, expected a number in 0..1")
        return Reading(self.name, float(report))
