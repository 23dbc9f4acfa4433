"""What the papers report on SuperNI's tracks, to be read beside our own figures and never as measured here.

Self-Instruct (Wang et al. 2212.10560, Table 3): zero-shot, 1,024 tokens, nothing cut. Tk-Instruct (README of its
repository, updated script): definition and two positive examples; its GPT-3 row cuts each answer at the first period.
"""

SELF_INSTRUCT = "Self-Instruct, Table 3"
TK_INSTRUCT = "Tk-Instruct README"

DEFAULT = (
    ("T5-LM 11B", 25.7, SELF_INSTRUCT),
    ("GPT-3 175B", 6.8, SELF_INSTRUCT),
    ("T0 11B", 33.1, SELF_INSTRUCT),
    ("GPT-3 + T0 training", 37.9, SELF_INSTRUCT),
    ("GPT-3 Self-Instruct", 39.9, SELF_INSTRUCT),
    ("InstructGPT-001", 40.8, SELF_INSTRUCT),
    ("Tk-Instruct 11B", 46.0, SELF_INSTRUCT),
    ("GPT-3 + SuperNI training", 49.5, SELF_INSTRUCT),
    ("GPT-3 Self-Instruct + SuperNI training", 51.6, SELF_INSTRUCT),
    ("copy input", 14.20, TK_INSTRUCT),
    ("copy demonstration", 28.54, TK_INSTRUCT),
    ("T5-LM 11B", 30.16, TK_INSTRUCT),
    ("T0 11B", 32.28, TK_INSTRUCT),
    ("GPT-3 175B", 45.05, TK_INSTRUCT),
    ("InstructGPT", 52.06, TK_INSTRUCT),
    ("Tk-Instruct 3B", 54.33, TK_INSTRUCT),
    ("Tk-Instruct 11B", 60.07, TK_INSTRUCT),
)
XLINGUAL = (
    ("copy input", 5.44, TK_INSTRUCT),
    ("copy demonstration", 50.31, TK_INSTRUCT),
    ("GPT-3 175B", 51.20, TK_INSTRUCT),
    ("InstructGPT", 53.74, TK_INSTRUCT),
    ("mTk-Instruct 3B", 56.72, TK_INSTRUCT),
)
# By the instances of the official tracks.
TRACKS = {11_810: DEFAULT, 3_500: XLINGUAL}


def published_rows(n_expected: int) -> list[dict[str, str | float]]:
    """[{name, rougeL, source}] of the official track that has so many instances; none for any other suite."""
    rows = TRACKS.get(n_expected, ())
    return [{"name": name, "rougeL": rouge, "source": source} for name, rouge, source in rows]
