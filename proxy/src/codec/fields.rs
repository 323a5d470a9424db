//! A message's header fields: one byte arena and spans into it, reused from message to message.

/// A piece of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
    /// Length.
    #[must_use]
    pub fn len(self) -> usize {
        self.len as usize
    }
}

/// One field; the name is lower case.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: Span,
    value: Span,
    /// Which known field it is.
    pub id: Id,
}

macro_rules! ids {
    ($($len:literal: { $($variant:ident = $text:literal,)* })*) => {
        /// Fields that the proxy itself looks at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Id {
            /// Any other.
            Other,
            /// Any other `x-envoy-…`: a control header, never believed.
            Envoy,
            $($(#[doc = $text] $variant,)*)*
        }
        impl Id {
            /// Classifies a lower-case name.
            #[must_use]
            pub fn of(name: &[u8]) -> Self {
                match name.len() {
                    $($len => match name {
                        $(n if n == $text.as_bytes() => Self::$variant,)*
                        n if n.starts_with(b"x-envoy-") => Self::Envoy,
                        _ => Self::Other,
                    },)*
                    _ if name.starts_with(b"x-envoy-") => Self::Envoy,
                    _ => Self::Other,
                }
            }
            /// The name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::Other | Self::Envoy => "",
                    $($(Self::$variant => $text,)*)*
                }
            }
        }
    };
}

ids! {
    2: { Te = "te", B3 = "b3", }
    4: { Host = "host", Date = "date", }
    6: { Server = "server", Expect = "expect", Cookie = "cookie", Origin = "origin", }
    7: { Upgrade = "upgrade", Trailer = "trailer", }
    8: { Location = "location", }
    10: { Connection = "connection", KeepAlive = "keep-alive", UserAgent = "user-agent", TraceState = "tracestate", B3Flags = "x-b3-flags", }
    11: { TraceParent = "traceparent", GrpcStatus = "grpc-status", B3SpanId = "x-b3-spanid", }
    12: { B3TraceId = "x-b3-traceid", ContentType = "content-type", RequestId = "x-request-id", B3Sampled = "x-b3-sampled", }
    14: { ContentLength = "content-length", }
    15: { ForwardedFor = "x-forwarded-for", }
    16: { ProxyConnection = "proxy-connection", ForwardedHost = "x-forwarded-host", }
    17: { TransferEncoding = "transfer-encoding", ForwardedProto = "x-forwarded-proto", ClientTraceId = "x-client-trace-id", B3ParentSpanId = "x-b3-parentspanid", }
    18: { EnvoyOverloaded = "x-envoy-overloaded", }
    19: { EnvoyForceTrace = "x-envoy-force-trace", }
    21: { EnvoyPeerMetadata = "x-envoy-peer-metadata", EnvoyOriginalPath = "x-envoy-original-path", EnvoyOriginalHost = "x-envoy-original-host", EnvoyAttemptCount = "x-envoy-attempt-count", }
    23: { ForwardedClientCert = "x-forwarded-client-cert", }
    24: { EnvoyPeerMetadataId = "x-envoy-peer-metadata-id", EnvoyExternalAddress = "x-envoy-external-address", }
    27: { EnvoyDecoratorOperation = "x-envoy-decorator-operation", }
    29: { RequestMethod = "access-control-request-method", EnvoyServiceTime = "x-envoy-upstream-service-time", }
}

/// Header fields and every other text of one message. A field lies in the arena as the line `name: value` with its
/// line break, so that a head is written in few large pieces.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    arena: Vec<u8>,
    list: Vec<Field>,
}

impl Fields {
    /// Empties it; memory is kept up to a bound.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.list.clear();
        if self.arena.capacity() > 64 * 1024 {
            self.arena = Vec::new();
        }
    }

    /// Stores bytes that are no field (target, authority, …).
    pub fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        Span {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(bytes.len()).unwrap_or(0),
        }
    }

    /// Stores a field as a line; where its name and its value lie.
    fn store_line(&mut self, name: &[u8], value: &[u8]) -> (Span, Span) {
        self.arena.reserve(name.len() + value.len() + 4);
        let name = self.store(name);
        self.arena.extend_from_slice(b": ");
        let value = self.store(value);
        self.arena.extend_from_slice(b"\r\n");
        (name, value)
    }

    /// Appends all fields to `out` as the lines of a head.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        let mut piece = 0..0;
        for field in &self.list {
            let start = field.name.start as usize;
            let end = field.value.start as usize + field.value.len() + 2;
            if start != piece.end {
                out.extend_from_slice(self.arena.get(piece).unwrap_or_default());
                piece = start..end;
            }
            piece.end = end;
        }
        out.extend_from_slice(self.arena.get(piece).unwrap_or_default());
    }

    /// The bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.arena
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    /// Adds a field at the end; the name is stored in lower case.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Id {
        let (name, value) = self.store_line(name, value);
        self.lower_case(name);
        let id = Id::of(self.bytes(name));
        self.list.push(Field { name, value, id });
        id
    }

    /// [`Fields::push`] of a field whose name is in lower case and classified already.
    pub fn push_classified(&mut self, id: Id, name: &[u8], value: &[u8]) {
        let (name, value) = self.store_line(name, value);
        self.list.push(Field { name, value, id });
    }

    fn lower_case(&mut self, span: Span) {
        let start = span.start as usize;
        if let Some(stored) = self.arena.get_mut(start..start + span.len()) {
            stored.make_ascii_lowercase();
        }
    }

    /// Adds a known field at the end.
    pub fn push_id(&mut self, id: Id, value: &[u8]) {
        let (name, value) = self.store_line(id.name().as_bytes(), value);
        self.list.push(Field { name, value, id });
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Name and value in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list
            .iter()
            .map(|field| (self.bytes(field.name), self.bytes(field.value)))
    }

    /// First value of a known field.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|field| field.id == id)
            .map(|field| self.bytes(field.value))
    }

    /// Where the first value of a known field lies; it stays there when the field is removed.
    #[must_use]
    pub fn span(&self, id: Id) -> Span {
        self.list
            .iter()
            .find(|field| field.id == id)
            .map(|field| field.value)
            .unwrap_or_default()
    }

    /// First value by lower-case name.
    #[must_use]
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|field| self.bytes(field.name) == name)
            .map(|field| self.bytes(field.value))
    }

    /// Values by lower-case name, in order.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.list
            .iter()
            .filter(move |field| self.bytes(field.name) == name)
            .map(|field| self.bytes(field.value))
    }

    /// Overwrites the first value of a known field where it lies if the new one is as long, else [`Fields::set`]s it.
    pub fn overwrite(&mut self, id: Id, value: &[u8]) {
        let known = self.list.iter().find(|field| field.id == id);
        let place = known
            .filter(|field| field.value.len() == value.len())
            .map(|field| {
                let start = field.value.start as usize;
                start..start + value.len()
            });
        match place.and_then(|place| self.arena.get_mut(place)) {
            Some(place) => place.copy_from_slice(value),
            None => self.set(id, value),
        }
    }

    /// Which of these known fields are there, in one pass.
    #[must_use]
    pub fn find<const N: usize>(&self, ids: [Id; N]) -> [Option<&[u8]>; N] {
        let mut found = [None; N];
        for field in &self.list {
            if field.id == Id::Other {
                continue;
            }
            if let Some(slot) = ids
                .iter()
                .position(|id| *id == field.id)
                .and_then(|at| found.get_mut(at))
                && slot.is_none()
            {
                *slot = Some(self.bytes(field.value));
            }
        }
        found
    }

    /// Whether a known field is there.
    #[must_use]
    pub fn has(&self, id: Id) -> bool {
        self.list.iter().any(|field| field.id == id)
    }

    /// Removes a known field.
    pub fn remove(&mut self, id: Id) {
        self.list.retain(|field| field.id != id);
    }

    /// Removes every field whose id is refused by `keep`.
    pub fn retain_ids(&mut self, keep: impl Fn(Id) -> bool) {
        self.list.retain(|field| keep(field.id));
    }

    /// Removes by name; ASCII case is ignored.
    pub fn remove_named(&mut self, name: &[u8]) {
        let Self { arena, list } = self;
        list.retain(|field| {
            let start = field.name.start as usize;
            !arena
                .get(start..start + field.name.len())
                .is_some_and(|stored| stored.eq_ignore_ascii_case(name))
        });
    }

    /// Overwrites the first and removes the rest, or adds.
    pub fn set(&mut self, id: Id, value: &[u8]) {
        let (name, value) = self.store_line(id.name().as_bytes(), value);
        let line = Field { name, value, id };
        let mut first = true;
        self.list.retain_mut(|field| {
            if field.id != id {
                return true;
            }
            *field = line;
            std::mem::take(&mut first)
        });
        if first {
            self.list.push(line);
        }
    }

    /// [`Fields::set`] by name.
    pub fn set_named(&mut self, name: &[u8], value: &[u8]) {
        self.remove_named(name);
        self.push(name, value);
    }
}
