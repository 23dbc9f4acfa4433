from benchmarks.fuzz_conversations import fuzz


def test_odd_conversations_of_every_template_are_right_or_refused_with_their_place() -> None:
    counts, failures = fuzz(300, seed=1)
    assert not failures
    assert counts["examples"] > 200 and counts["refused"] > 30
