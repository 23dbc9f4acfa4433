"""Rows of files and of the hub as what the run's objective and template train on."""

from collections.abc import Callable
from typing import Any

from pacos.config import TrainConfig
from pacos.conversations import Conversation, Message, is_conversation, read_conversation
from pacos.errors import DataError, OtherForm
from pacos.records import Task, parse_task
from pacos.templates import Template, template
from pacos.train.data.chat_pairs import parse_chat_pair
from pacos.train.interfaces import objective_of

Parse = Callable[..., Any]


def row_parser(train: TrainConfig) -> Parse:
    """The function (values, where=place) that makes an object of a row: a Task or Pair; Conversation or ChatPair where
    the template is a chat. It raises DataError.
    """
    objective = objective_of(train)
    if template(train.template).is_chat:
        return parse_chat_pair if objective.examples_per_unit == 2 else read_conversation
    return objective.parse_row


def parse_single_turn(values: Any, *, where: str) -> Task:
    """A task of a row of Alpaca's form, or of a conversation of one question and one answer.

    Raises OtherForm for any other conversation, whose turns would be lost.
    """
    if not isinstance(values, dict) or not is_conversation(values):
        return parse_task(values, where=where)
    messages = read_conversation(values, where=where).messages
    if [message.role for message in messages] != ["user", "assistant"]:
        what = "a system text" if messages[0].role == "system" else f"{len(messages)} turns"
        raise OtherForm(
            f"has {what}, which this template cannot show",
            where=where,
            todo="set train.template=chat, or leave such rows out",
        )
    if not messages[0].content.strip():
        raise DataError("the user's turn is empty", where=where)
    return Task(messages[0].content, "", messages[1].content)


def as_conversation(row: Any, form: Template) -> Any:
    """A task as a conversation: its instruction and input are the user's turn; any other row as it is."""
    if not isinstance(row, Task):
        return row
    prompt, answer = form.render(row, "")
    return Conversation((Message("user", prompt), Message("assistant", answer)))
