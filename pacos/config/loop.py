"""`answers` and `loop`: a model's answers to its own tasks, and the rounds in which it trains on its judgements."""

from typing import Annotated

from pydantic import Field

from pacos.config.generate import SamplingConfig
from pacos.config.section import Count, Fraction, NotNegative, Section
from pacos.config.train import DataSource, TrainConfig


class AnswersConfig(SamplingConfig):
    """Several answers of one model to each task of a dataset, to be judged; the tasks' own outputs are ignored."""

    temperature: NotNegative = Field(0.7, description="Softmax temperature; 0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.9, description="Nucleus: smallest set of this probability.")
    max_tokens: Count = Field(512, description="Most tokens of an answer.")
    samples: Count = Field(4, description="Answers to each task.")
    tasks: str | None = Field(None, description="Alpaca-format tasks, file or folder; the run's dataset unless given.")
    model: str | None = Field(None, description="The one that answers; `train.model`, then `model.base` unless given.")
    adapter: str | None = Field(None, description="Folder of an adapter on that model.")


class StopsConfig(Section):
    """Limits beyond which the loop has gone wrong: it warns, and stops unless `stop` is false."""

    stop: bool = Field(True, description="Stop the loop; false only warns.")
    judge_accuracy: Fraction = Field(0.5, description="Lowest share of people's preferences that the judge must share.")
    margin: NotNegative = Field(0.5, description="Lowest mean difference between the scores of a pair.")
    length_growth: Annotated[float, Field(gt=1)] = Field(
        2.5, description="Longest mean answer in words, as a multiple of M1's; the paper's M3 reached 2.3."
    )


class LoopConfig(Section):
    """Self-Rewarding Language Models (2401.10020). `sft` trains M1 from the base; `train` trains M2, M3, … by DPO."""

    rounds: Count = Field(2, description="Rounds of tasks, answers, scores and DPO.")
    ranked: str | None = Field(
        None, description="Answers that people have ranked: a .jsonl file, or a hub id with Open Assistant's columns."
    )
    held_aside: Count = Field(250, description="Requests of `ranked` that are held out to measure the judge.")
    instructions: list[DataSource] = Field(
        default_factory=list,
        description="What M1 learns answering from; the best answers of `ranked` unless given.",
    )
    judging: list[DataSource] = Field(
        default_factory=list,
        description="What M1 learns judging from. Unless given, a model tuned on `instructions` judges "
        "`ranked`, and the judgements that agree with people are used.",
    )
    sft: TrainConfig = Field(TrainConfig(), description="How M1 is trained; the keys are those of `train`.")
    stops: StopsConfig = StopsConfig()
