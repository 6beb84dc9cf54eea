//! Pages of a list: `maxResults` and an opaque `nextToken`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::api::ApiError;

/// What a list operation was asked for.
pub(crate) struct PageRequest<'a> {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<&'a str>,
    /// The page size without `maxResults`.
    pub(crate) default: usize,
    /// The largest `maxResults`.
    pub(crate) limit: usize,
    /// The operation and its filters: a token is good for these only.
    pub(crate) filters: &'a str,
}

/// One page of `items`, which are sorted and have no duplicates, and the token of the next.
pub(crate) fn page(
    items: Vec<String>,
    request: &PageRequest<'_>,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let size = match request.max_results {
        None => request.default,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=request.limit).contains(size))
            .ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "maxResults must be between 1 and {}.",
                    request.limit
                ))
            })?,
    };
    let after = match request.next_token {
        None | Some("") => None,
        Some(token) => Some(open(token, request.filters)?),
    };
    // Tokens name the last item seen, not a position: items that come and go meanwhile do no harm.
    let mut rest = items
        .into_iter()
        .filter(|item| after.as_ref().is_none_or(|after| item > after));
    let found: Vec<String> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), found.last()) {
        (Some(_), Some(last)) => Some(seal(last, request.filters)),
        _ => None,
    };
    Ok((found, next))
}

fn seal(last: &str, filters: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{last}", digest(filters)))
}

fn open(token: &str, filters: &str) -> Result<String, ApiError> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.strip_prefix(&digest(filters)).map(str::to_owned))
        .ok_or_else(|| ApiError::invalid_parameter("Invalid token"))
}

fn digest(filters: &str) -> String {
    hex::encode(&Sha256::digest(filters)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(max_results: Option<i64>, next_token: Option<&'a str>) -> PageRequest<'a> {
        PageRequest {
            max_results,
            next_token,
            default: 3,
            limit: 100,
            filters: "ListThings",
        }
    }

    fn items() -> Vec<String> {
        ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec()
    }

    #[test]
    fn pages_follow_each_other_without_loss_or_repetition() {
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let (found, next) = page(items(), &request(Some(2), token.as_deref())).unwrap();
            seen.extend(found);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, items());
    }

    #[test]
    fn the_last_page_has_no_token_even_when_full() {
        let (found, next) = page(items(), &request(Some(5), None)).unwrap();
        assert_eq!((found.len(), next), (5, None));
        let (found, next) = page(items(), &request(None, None)).unwrap();
        assert_eq!((found.len(), next.is_some()), (3, true));
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for size in [0, -1, 101, i64::MAX] {
            assert_eq!(
                page(items(), &request(Some(size), None)).unwrap_err().code,
                "InvalidParameterException"
            );
        }
    }

    #[test]
    fn a_token_is_good_for_its_own_filters_only() {
        let (_, next) = page(items(), &request(Some(1), None)).unwrap();
        let other = PageRequest {
            filters: "ListOthers",
            ..request(Some(1), next.as_deref())
        };
        assert!(page(items(), &other).is_err());
        assert!(page(items(), &request(None, Some("nonsense!"))).is_err());
    }
}
