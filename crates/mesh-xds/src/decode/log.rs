//! Access logs.

use mesh_model::expression::Expression;
use mesh_model::listener::{AccessLog, AccessLogFormat};

use super::value::inline_text;
use super::{Path, is_type, unpack};
use crate::Invalid;
use crate::log_format::{ISTIO_TEXT, is_istio_json};
use crate::pb::core::substitution_format_string::Format;
use crate::pb::{self, Struct, accesslog, core, file_log, stream_log};

/// Envoy's own line where no format is given.
const ENVOY_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);

pub(super) fn access_logs(from: &[accesslog::AccessLog], path: &Path<'_>) -> Result<Vec<AccessLog>, Invalid> {
    from.iter()
        .enumerate()
        .map(|(i, one)| {
            let path = path.item("access_log", i);
            let filter = filter(one.filter.as_ref(), &path.field("filter"))?;
            Ok(AccessLog {
                filter,
                ..access_log(one, &path)?
            })
        })
        .collect()
}

fn access_log(from: &accesslog::AccessLog, path: &Path<'_>) -> Result<AccessLog, Invalid> {
    let Some(accesslog::access_log::ConfigType::TypedConfig(any)) = &from.config_type else {
        return Err(path.field("typed_config").invalid("is missing"));
    };
    let path = path.field("typed_config");
    if is_type::<stream_log::StdoutAccessLog>(any) {
        let log: stream_log::StdoutAccessLog = unpack(any, &path)?;
        let format = log
            .access_log_format
            .map(|stream_log::stdout_access_log::AccessLogFormat::LogFormat(f)| f);
        return sink("/dev/stdout", format.as_ref(), &path);
    }
    if is_type::<stream_log::StderrAccessLog>(any) {
        let log: stream_log::StderrAccessLog = unpack(any, &path)?;
        let format = log
            .access_log_format
            .map(|stream_log::stderr_access_log::AccessLogFormat::LogFormat(f)| f);
        return sink("/dev/stderr", format.as_ref(), &path);
    }
    let log: file_log::FileAccessLog = unpack(any, &path)?;
    if log.path.is_empty() {
        return Err(path.field("path").invalid("is empty"));
    }
    use file_log::file_access_log::AccessLogFormat as F;
    match &log.access_log_format {
        None => sink(&log.path, None, &path),
        Some(F::LogFormat(format)) => sink(&log.path, Some(format), &path),
        Some(F::Format(text)) => Ok(AccessLog {
            path: log.path.clone(),
            format: text_format(text),
            filter: None,
        }),
        Some(F::JsonFormat(keys) | F::TypedJsonFormat(keys)) => Ok(AccessLog {
            path: log.path.clone(),
            format: json_format(keys, &path.field("json_format"))?,
            filter: None,
        }),
    }
}

/// The one kind of filter that is known: an expression.
fn filter(from: Option<&accesslog::AccessLogFilter>, path: &Path<'_>) -> Result<Option<Expression>, Invalid> {
    use accesslog::access_log_filter::FilterSpecifier;
    use accesslog::extension_filter::ConfigType;
    let Some(from) = from else { return Ok(None) };
    let path = path.field("extension_filter");
    let Some(FilterSpecifier::ExtensionFilter(extension)) = &from.filter_specifier else {
        return Err(path.invalid("only expressions filter access logs"));
    };
    let Some(ConfigType::TypedConfig(any)) = &extension.config_type else {
        return Err(path.field("typed_config").invalid("is missing"));
    };
    let path = path.field("typed_config");
    let filter: pb::cel::ExpressionFilter = unpack(any, &path)?;
    Expression::new(&filter.expression)
        .map(Some)
        .map_err(|reason| path.field("expression").invalid(reason))
}

fn sink(
    file: &str,
    format: Option<&core::SubstitutionFormatString>,
    path: &Path<'_>,
) -> Result<AccessLog, Invalid> {
    let path = path.field("log_format");
    let format = match format.and_then(|f| f.format.as_ref()) {
        None => AccessLogFormat::Text(ENVOY_TEXT.to_owned()),
        Some(Format::TextFormat(text)) => text_format(text),
        Some(Format::TextFormatSource(source)) => {
            text_format(&inline_text(source, &path.field("text_format_source"))?)
        }
        Some(Format::JsonFormat(keys)) => json_format(keys, &path.field("json_format"))?,
    };
    Ok(AccessLog {
        path: file.to_owned(),
        format,
        filter: None,
    })
}

fn text_format(text: &str) -> AccessLogFormat {
    if text == ISTIO_TEXT {
        AccessLogFormat::IstioText
    } else {
        AccessLogFormat::Text(text.to_owned())
    }
}

/// Keys in alphabetical order: a protobuf map has none.
fn json_format(keys: &Struct, path: &Path<'_>) -> Result<AccessLogFormat, Invalid> {
    if is_istio_json(keys) {
        return Ok(AccessLogFormat::IstioJson);
    }
    let mut all = Vec::with_capacity(keys.fields.len());
    for (key, value) in &keys.fields {
        let Some(pb::Kind::StringValue(text)) = &value.kind else {
            return Err(path.field(key).invalid("must be a format string"));
        };
        all.push((key.clone(), text.clone()));
    }
    all.sort();
    Ok(AccessLogFormat::Json(all))
}
