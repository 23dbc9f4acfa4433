"""Token ids as pieces of text, each as it stands in the whole."""

from collections.abc import Sequence
from typing import Any

from pacos.report.rows import Piece
from pacos.token_ids import control_tokens, token_ids

# Tokens that may make up one character or more, until their bytes are whole.
LONGEST_RUN = 8
BROKEN = "\ufffd"


class Decoder:
    """Decodes token by token. A token's text is what it adds behind another: alone, some tokenizers drop its space."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.controls = {id: token.content for id, token in control_tokens(tokenizer).items()}
        self.before = token_ids(tokenizer, ["a"], special=False)[0]
        self.lead = self._decode(self.before)

    def pieces(self, ids: Sequence[int]) -> tuple[Piece, ...]:
        """The ids as pieces, whose texts joined are the text of all."""
        pieces: list[Piece] = []
        at = 0
        while at < len(ids):
            pieces.append(self._piece(ids[at : at + LONGEST_RUN]))
            at += len(pieces[-1].ids)
        return tuple(pieces)

    def _piece(self, ids: Sequence[int]) -> Piece:
        """The first token's piece; with those behind it where only they complete a character."""
        if ids[0] in self.controls:
            return Piece((ids[0],), self.controls[ids[0]], special=True)
        for count in range(1, len(ids) + 1):
            if ids[count - 1] in self.controls:
                break
            text = self._text(ids[:count])
            if text and not text.endswith(BROKEN):
                return Piece(tuple(ids[:count]), text)
        # Half a character, or one that is no text: its name in the vocabulary.
        return Piece((ids[0],), str(self.tokenizer.convert_ids_to_tokens(ids[0])))

    def _text(self, ids: Sequence[int]) -> str:
        whole = self._decode([*self.before, *ids])
        return whole[len(self.lead) :] if whole.startswith(self.lead) else self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
