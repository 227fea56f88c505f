"""A decorator for methods whose answers are remembered by their object."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

Question = ParamSpec("Question")
Answer = TypeVar("Answer")


def once(method: Callable[Concatenate[Any, Question], Answer]) -> Callable[Concatenate[Any, Question], Answer]:
    """Remember each answer in the object's `answers`: hundreds of records need the same network, and every job of a
    cluster reads the plan. (functools.cache would keep every plan alive.)"""

    def asked(plan: Any, /, *arguments: Question.args, **named: Question.kwargs) -> Answer:
        question = (method.__name__, *arguments, *named.items())
        if question not in plan.answers:
            plan.answers[question] = method(plan, *arguments, **named)
        answer: Answer = plan.answers[question]
        return answer

    return asked
