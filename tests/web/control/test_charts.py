"""The coordinates of charts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.queue_status import FlowPoint
from mailer.web.control.charts import HEIGHT, WIDTH, draw

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def points(*rates: float | None, limit: float | None = None) -> list[FlowPoint]:
    first = NOW - timedelta(minutes=len(rates))
    return [FlowPoint(first + timedelta(minutes=n), rate, 0.0, 0, limit) for n, rate in enumerate(rates)]


def test_a_line_goes_from_the_oldest_to_the_newest_sample() -> None:
    chart = draw(points(0, 10, 20), NOW, HOUR)
    assert (chart.highest, chart.start) == (20, NOW - HOUR)
    assert chart.rate == ["570.0,120.0 580.0,60.0 590.0,0.0"]
    assert chart.limit == []


def test_a_line_stops_where_nothing_was_measured() -> None:
    assert len(draw(points(5, 5, None, 5, 5), NOW, HOUR).rate) == 2
    scattered = points(5, 5, 5, 5, 5, 5)
    assert len(draw([*scattered[:2], *scattered[-1:]], NOW, HOUR).rate) == 2


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=50), st.one_of(st.none(), st.floats(0.1, 1e6)))
def test_every_point_lies_in_the_box(rates: list[float | None], limit: float | None) -> None:
    chart = draw(points(*rates, limit=limit), NOW, HOUR)
    for line in (*chart.rate, *chart.deferral_rate, *chart.limit):
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
