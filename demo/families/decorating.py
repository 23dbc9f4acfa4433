"""The input comes back with something set around it or taken off it. The words in it do not matter."""

from collections.abc import Callable, Sequence
from random import Random

from demo.families.family import Family, Slots
from demo.families.lexicon import DAYS
from demo.families.sentences import any_name, any_sentence, any_word

_DRAWS: dict[str, Callable[[Random], str]] = {
    "name": any_name,
    "word": any_word,
    "day": lambda rng: rng.choice(DAYS),
    "number": lambda rng: str(rng.randint(2, 20)),
}


def _draw(rng: Random) -> Slots:
    return {"text": any_sentence(rng), **{slot: draw(rng) for slot, draw in _DRAWS.items()}}


def _set(name: str, form: str, *asks: str) -> Family:
    """The input inside `form`, whose other slots the instruction fills."""
    return Family(name, asks, _draw, lambda slots: form.format(**slots), input="{text+}")


def _end(name: str, mark: str, *asks: str) -> Family:
    """The input with another mark at its end."""

    def solve(slots: Slots) -> str | None:
        text = slots["text"]
        return f"{text[:-1]}{mark}" if text[-1] in ".?!" else None

    return Family(name, asks, _draw, solve, input="{text+}")


def _strip(name: str, form: str, *asks: str) -> Family:
    """What is left of the input without the `form` around it."""
    return Family(name, asks, _draw, lambda slots: slots["text"], input=form)


_SET: Sequence[Family] = (
    _set(
        "quote",
        '"{text}"',
        "Set quotation marks around what you read.",
        "Somebody said this. Quote it.",
        "Give the line as a quote, with marks on both sides.",
    ),
    _set(
        "bracket",
        "({text})",
        "Put the sentence in brackets.",
        "Open a bracket in front, close it behind.",
        "This remark is not important. Bracket it.",
    ),
    _set(
        "dash_point",
        "- {text}",
        "Start with a dash, as in a shopping list.",
        "Make this one point of a dashed list.",
        "Turn the text into a list entry with a dash.",
    ),
    _set(
        "note",
        "Note: {text}",
        "Mark this as a note.",
        "The reader should take note. Begin with this word and a colon.",
        "Make a note out of the remark.",
    ),
    _set(
        "urgent",
        "Urgent: {text}",
        "It cannot wait. Mark the message as urgent.",
        "Put the word urgent in front of the call.",
        "Show that we are in a hurry with this news.",
    ),
    _set(
        "thanks",
        "{text} Thank you.",
        "Add thanks at the end.",
        "Close the request with two words of thanks.",
        "Be grateful after the last word.",
    ),
    _set(
        "agree",
        "Yes. {text}",
        "Agree first, then say the same.",
        "Say yes and tell it again.",
        "Someone doubts it. Confirm with yes and the full statement.",
    ),
    _set(
        "refuse",
        "No! {text}",
        "Shout no before you speak.",
        "Begin with a loud no, then go on with the text.",
        "Protest with one word and then state your view from below.",
    ),
    _set(
        "that_is_all",
        "{text} That is all.",
        "End the report with: That is all.",
        "After these words nothing follows. Say that this is all.",
        "Finish your speech like a soldier who has no more to say.",
    ),
    _set(
        "as_title",
        "Title: {text}",
        "Label the line as a title.",
        "The book gets this name. Put the label title before it.",
        "Use the words as the title of a page.",
    ),
    _set(
        "reply",
        "> {text}",
        "Mark it as part of an older mail, with the sign >.",
        "Place the sign > at the left edge.",
        "Cite the mail you got the way mail programs do.",
    ),
    _set(
        "star",
        "* {text} *",
        "One star goes to the left and one to the right.",
        "Decorate the saying with stars.",
        "Frame the words with a star on each side.",
    ),
    _set(
        "square_bracket",
        "[{text}]",
        "Square brackets belong around this.",
        "It is an aside of the editor. Show it with square brackets.",
        "Box the phrase in with [ and ].",
    ),
    _set(
        "hello",
        "Hello! {text}",
        "Greet everybody first.",
        "Say hello and then talk on.",
        "You enter the room with this remark. Do not forget your greeting.",
    ),
    _set(
        "goodbye",
        "{text} Goodbye.",
        "Take your leave after it.",
        "Add a goodbye as the last word.",
        "You hang up the phone now. Close the call.",
    ),
    _set(
        "warning",
        "Warning: {text}",
        "It could be dangerous. Warn the reader up front.",
        "Paint this on a sign that warns people.",
        "Turn it into a warning with one word before it.",
    ),
    _set(
        "fact",
        "Fact: {text}",
        "Nobody doubts this. Present it as a fact.",
        "Mark it as something proven.",
        "File the line under facts.",
    ),
    _set(
        "reminder",
        "Reminder: {text}",
        "People forget such things. Send it as a reminder.",
        "Remind your team of this.",
        "Write the reminder for the fridge door.",
    ),
    _set(
        "postscript",
        "P.S. {text}",
        "Add it below the letter as an afterthought.",
        "Make a postscript of these words.",
        "Two letters with periods announce what was forgotten. Use them here.",
    ),
    _set(
        "over_and_out",
        "{text} Over and out.",
        "Send this by radio and finish the talk.",
        "Speak like a pilot who ends the contact: over and out.",
        "The transmission stops after your words. Say so.",
    ),
    _set(
        "in_short",
        "In short: {text}",
        "Give it as a summary.",
        "Sum up with this line, two words first.",
        "You talked for an hour. Now tell them the short form.",
    ),
    _end(
        "shout",
        "!",
        "Make it louder with an exclamation mark.",
        "The last mark should be an exclamation mark.",
        "Cry it out. Only the end changes.",
    ),
    _end(
        "trail_off",
        "...",
        "Let the voice trail off with three dots.",
        "Three dots belong at the close instead of the mark.",
        "The speaker falls asleep while talking. Show it with dots.",
    ),
    _end(
        "doubt",
        "?",
        "Say the same in doubt, with a question mark.",
        "You do not believe it. Turn the last mark into a question mark.",
        "Swap the final mark for the one of questions.",
    ),
)

_STRIP: Sequence[Family] = (
    _strip(
        "unquote",
        '"{text+}"',
        "Take the quotation marks away.",
        "Free the words from their quotes.",
        "No quotes, please: only what is between them.",
    ),
    _strip(
        "unbracket",
        "({text+})",
        "Remove the brackets.",
        "What stands inside the brackets?",
        "Pull the remark out of its brackets.",
    ),
    _strip(
        "unnumber",
        "{number}. {text+}",
        "Delete the number in front.",
        "The list is no longer numbered. Clean this entry.",
        "Keep the entry and throw away its number.",
    ),
    _strip(
        "unsign",
        "{text+} - {name}",
        "Cut off the signature.",
        "Nobody should know who wrote this. Drop the name behind the dash.",
        "Show the message, not its author.",
    ),
    _strip(
        "untag",
        "{text+} #{word}",
        "Remove the tag with the hash sign.",
        "What does the post say apart from its tag?",
        "Post it without any hash.",
    ),
    _strip(
        "ungreet",
        "Dear {name}, {text+}",
        "Leave the greeting out of the letter.",
        "What follows after the salutation?",
        "Skip Dear and the name: what is the letter about?",
    ),
    _strip(
        "undate",
        "{day}: {text+}",
        "Take the day out of the diary entry.",
        "Which event does the diary hold? Do not write the weekday.",
        "Remove the date before the colon.",
    ),
)

FAMILIES = (*_SET, *_STRIP)
