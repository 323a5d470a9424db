//! Access logs.

use mesh_model::expression::Expression;
use mesh_model::listener::{AccessLog, AccessLogFormat};

use crate::log_format::{ISTIO_TEXT, istio_json};
use crate::pb::core::substitution_format_string::Format;
use crate::pb::{self, accesslog, core, file_log, name};

pub(super) fn access_log(from: &AccessLog) -> accesslog::AccessLog {
    let format = match &from.format {
        AccessLogFormat::IstioText => Format::TextFormatSource(inline(ISTIO_TEXT)),
        AccessLogFormat::Text(text) => Format::TextFormatSource(inline(text)),
        AccessLogFormat::IstioJson => Format::JsonFormat(istio_json()),
        AccessLogFormat::Json(keys) => Format::JsonFormat(pb::structure(
            keys.iter().map(|(key, value)| (key.clone(), pb::text(value))),
        )),
    };
    let log = file_log::FileAccessLog {
        path: from.path.clone(),
        access_log_format: Some(file_log::file_access_log::AccessLogFormat::LogFormat(
            core::SubstitutionFormatString {
                format: Some(format),
                ..core::SubstitutionFormatString::default()
            },
        )),
    };
    accesslog::AccessLog {
        name: name::FILE_LOG.to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pb::pack(&log))),
        filter: from.filter.as_ref().map(filter),
    }
}

fn filter(from: &Expression) -> accesslog::AccessLogFilter {
    use accesslog::access_log_filter::FilterSpecifier;
    use accesslog::extension_filter::ConfigType;
    let filter = pb::cel::ExpressionFilter {
        expression: from.source().to_owned(),
        ..pb::cel::ExpressionFilter::default()
    };
    accesslog::AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ExtensionFilter(accesslog::ExtensionFilter {
            name: name::CEL_FILTER.to_owned(),
            config_type: Some(ConfigType::TypedConfig(pb::pack(&filter))),
        })),
    }
}

fn inline(text: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
        ..core::DataSource::default()
    }
}
