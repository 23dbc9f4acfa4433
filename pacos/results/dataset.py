"""What is written about a dataset: `stats.json` when it is made, and `analysis.json` by `pacos analyze`."""

from dataclasses import dataclass, field

from pacos.results.figures import Tokenization


@dataclass(frozen=True, slots=True)
class Funnel:
    """The yield funnel: what was counted from requests to accepted tasks.

    `answered` counts all answers in the journal, the others what was committed. `instructions` equals `accepted` where
    an item is a whole task; otherwise each instruction has `instances`, some of which are accepted. `rejected` counts
    rejections by reason.
    """

    answered: int = 0
    requests: int = 0
    items: int = 0
    parsed: int = 0
    instructions: int = 0
    instances: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens that the engine read (`prompt`) and generated (`completion`)."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class DatasetCost:
    """Cost in the currency of the engine's prices, in total and per 1,000 accepted tasks; 0 without a price."""

    total: float = 0.0
    per_1000: float = 0.0


@dataclass(frozen=True, slots=True)
class WordCounts:
    """Lengths in words: mean, median, 95th percentile (nearest rank) and maximum."""

    mean: float = 0.0
    median: int = 0
    p95: int = 0
    max: int = 0


@dataclass(frozen=True, slots=True)
class TaskLengths:
    """Lengths of the parts of the tasks. `input` is over the `with_input` tasks that have one."""

    instruction: WordCounts = WordCounts()
    input: WordCounts = WordCounts()
    output: WordCounts = WordCounts()
    with_input: int = 0


@dataclass(frozen=True, slots=True)
class NearestScores:
    """ROUGE-L of each accepted instruction to its nearest neighbour: mean, and counts in bins of 0.1 from 0 to 1.

    `unicode_texts` of the instructions were compared by words of any script, although the tokenizer is rouge_score's:
    it misses most of their words. `sampled` of them were accepted when the pool was above 65,536 texts: their nearest
    and mean are over a sample of it.
    """

    mean_nearest_rougeL: float = 0.0
    nearest_rougeL_histogram: list[int] = field(default_factory=list)
    unicode_texts: int = 0
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """`stats.json`. Tokens, `seconds` (of the engine) and cost count every answer, committed or not.

    `classification` counts the accepted instructions by "yes", "no" and "unknown". `source` is the file that `pacos
    filter` or `pacos curate` made the dataset from, "" for one that was generated.
    """

    funnel: Funnel = Funnel()
    tokens: TokenCounts = TokenCounts()
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    cost: DatasetCost = DatasetCost()
    stopped_by: str = ""
    classification: dict[str, int] = field(default_factory=dict)
    lengths: TaskLengths = TaskLengths()
    novelty: NearestScores = NearestScores()
    source: str = ""


@dataclass(frozen=True, slots=True)
class SeedFile:
    """The seed tasks that a dataset was compared with."""

    file: str
    tasks: int


@dataclass(frozen=True, slots=True)
class LengthHistogram(WordCounts):
    """Lengths of one part of the tasks, and their histogram; its last bin has all longer texts too."""

    count: int = 0
    bin_width: int = 1
    histogram: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VerbsAndNouns:
    """Root verbs and their objects. Shares are of all instructions; `top` has the most frequent nouns by verb."""

    extractor: str
    share: float
    share_of_seeds: float
    different_pairs: int
    top_share: float
    top: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class SimilarityHistogram:
    """Highest ROUGE-L of each instruction to a set of others: the mean, and counts in bins of 0.1 from 0 to 1."""

    mean: float
    histogram: list[int]


@dataclass(frozen=True, slots=True)
class NoveltyStretch:
    """Mean similarity over a stretch of the dataset that ends at task number `tasks`."""

    tasks: int
    mean: float


@dataclass(frozen=True, slots=True)
class NoveltyOverTime(SimilarityHistogram):
    """Similarity to the nearest earlier task, over all tasks and by stretches in their order."""

    over_time: list[NoveltyStretch]


@dataclass(frozen=True, slots=True)
class PublishedDataset:
    """Figures of a published dataset. None: not published, or not comparable."""

    tasks: int
    instruction_words: float
    input_words: float
    output_words: float
    verb_noun_share: float | None
    top_pairs_share: float | None
    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    nearest_seed: float | None
    nearest_earlier: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """`analysis.json`.

    `lengths` is by part of the task, `distinct` by n (distinct-n), `defects` and `suspicions` count tasks by rule. The
    funnel is that of the dataset's `stats.json`; all zero without one. `published` is by system. `tokenization` is that
    of the instructions.
    """

    dataset: str
    tasks: int
    seeds: SeedFile
    lengths: dict[str, LengthHistogram]
    distinct: dict[str, float]
    verbs: VerbsAndNouns
    nearest_seed: SimilarityHistogram
    novelty: NoveltyOverTime
    defects: dict[str, int]
    suspicions: dict[str, int]
    funnel: Funnel
    published: dict[str, PublishedDataset]
    tokenization: Tokenization = field(default_factory=Tokenization)
