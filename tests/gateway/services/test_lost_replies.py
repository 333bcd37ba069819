"""Promise 1: an acknowledged job is never lost, and never created twice for one idempotency key."""

from bench.lost_replies import measure


async def test_a_job_is_created_once_however_often_its_reply_is_lost(database_url, tmp_path) -> None:
    report = await measure(database_url, tmp_path, creates=300, clients=8, seed=1)
    assert report.violations == []
    assert report.jobs == 300
    assert report.lost_after_commit > 10
    assert report.lost_before > 0
    assert report.calls >= 300 + report.lost_after_commit + report.lost_before
