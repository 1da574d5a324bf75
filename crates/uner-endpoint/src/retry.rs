//! How long to wait before the next attempt.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A request is given up if the endpoint demands a longer pause: its quota of hours or days is used
/// up.
pub(crate) const LONGEST_DEMANDED: Duration = Duration::from_mins(10);

/// Exponential back-off with full jitter: uniform from 0 to `0.5 s · 2^(attempt − 1)`, at most
/// 30 s. (Brooker, Exponential Backoff And Jitter, 2015: requests that failed together do not come
/// back together.) Attempts count from 1.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    (FIRST * 2_u32.pow(doublings)).min(LONGEST).mul_f64(fastrand::f64())
}

/// The pause that a response demands: `retry-after-ms`, or `Retry-After` in seconds or as a date.
/// Zero if the date has passed.
pub(crate) fn demanded(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok();
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    let exact = text("retry-after-ms").and_then(number).and_then(|ms| seconds(ms / 1000.0));
    exact.or_else(|| {
        let value = text("retry-after")?;
        number(value).map_or_else(
            || Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
            seconds,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str, now: SystemTime) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        demanded(&headers, now)
    }

    #[test]
    fn pauses_are_read_in_every_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(of("retry-after", "3", now), seconds(3.0));
        assert_eq!(of("retry-after", "0.25", now), seconds(0.25));
        assert_eq!(of("retry-after-ms", "1500", now), seconds(1.5));
        // 784111777 s after 1970 is the example of RFC 9110, 5.6.7.
        assert_eq!(of("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", now), seconds(10.0));
        assert_eq!(of("retry-after", "Sunday, 06-Nov-94 08:49:47 GMT", now), seconds(10.0));
        assert_eq!(of("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT", now), seconds(0.0));
        assert_eq!(of("retry-after", "soon", now), None);
        assert_eq!(of("retry-after", "-1", now), None);
        assert_eq!(of("x", "1", now), None);
    }

    #[test]
    fn pauses_grow_and_are_limited() {
        for (attempt, longest) in [(1, 0.5), (2, 1.0), (6, 16.0), (7, 30.0), (99, 30.0)] {
            let waits: Vec<_> = (0..200).map(|_| backoff(attempt).as_secs_f64()).collect();
            assert!(waits.iter().all(|wait| *wait <= longest), "{attempt}");
            assert!(waits.iter().any(|wait| *wait < longest / 2.0), "{attempt}");
            assert!(waits.iter().any(|wait| *wait > longest / 2.0), "{attempt}");
        }
    }
}
