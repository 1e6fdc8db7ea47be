"""The profile's remarks say what its figures say."""

from benchmarks import where_time_goes
from benchmarks.results import Result, Row


def test_growth__is_worked_out_from_the_rows() -> None:
    few, many = [10.0, 1.0, 2.0, 3.0, 4.0], [20.0, 3.0, 2.0, 9.0, 6.0]
    rows = [
        Row(f"ours, {size}", [figure], unit)
        for size, figures in zip(where_time_goes.SIZES, (few, many), strict=True)
        for figure, unit in zip(figures, where_time_goes.UNITS, strict=True)
    ]
    assert where_time_goes._growth(Result("where_time_goes", "", rows), "ours") == (
        "ours, 4,000 ÷ 500: all of it 2.00, waking the client 3.00, the client's end of the connection 1.00, "
        "send(2) 3.00, the program itself 1.50. At 500, 40% of its time is the program itself."
    )
