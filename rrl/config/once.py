"""Answers that are remembered."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

Question = ParamSpec("Question")
Answer = TypeVar("Answer")


def once(method: Callable[Concatenate[Any, Question], Answer]) -> Callable[Concatenate[Any, Question], Answer]:
    """The answer is remembered: a network is behind hundreds of records, and every job of a cluster reads the plan."""

    def asked(plan: Any, /, *of: Question.args, **named: Question.kwargs) -> Answer:
        question = (method.__name__, *of, *named.items())
        if question not in plan.answers:
            plan.answers[question] = method(plan, *of, **named)
        answer: Answer = plan.answers[question]
        return answer

    return asked
