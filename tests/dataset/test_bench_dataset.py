from __future__ import annotations

from bench import dataset


def test_the_benchmark_measures_all_of_it():
    found = dataset.run(pictures=30)
    assert found["pictures"] == 30
    assert all(found[name] > 0 for name in ("open", "again", "filter", "duplicates", "duplicates_cpu"))
