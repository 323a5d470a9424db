//! The one canonical view of a request: route, policy, forward and log all read this.

/// Facts of a request that decisions may read. Implemented by the proxy on its parsed request and by analysis
/// on typed-in requests.
pub trait RequestView {
    /// Method, as sent.
    fn method(&self) -> &[u8];
    /// `http` or `https`.
    fn scheme(&self) -> &[u8];
    /// Authority as sent (case kept, port included).
    fn authority(&self) -> &[u8];
    /// Path after normalisation, without query and fragment.
    fn path(&self) -> &[u8];
    /// Query without `?`, if any.
    fn query(&self) -> Option<&[u8]>;
    /// Calls `found` with each value of the header (lower-case name), in order, until it answers `false`.
    fn each_header(&self, name: &str, found: &mut dyn FnMut(&[u8]) -> bool);
}
