//! Parquet: columns of strings and whole numbers, lists of strings, which references are, and lists of
//! structs, which conversations are.
//!
//! Only columns that some format knows are read; of the others nothing but the name is looked at.
//! What a schema may be made of is checked before the reader is built from it, because that reader
//! takes some shapes for granted. It also takes the contents of pages for granted, and panics at
//! damaged ones; that panic ends here, as an error.

use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{ConvertedType, Repetition, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::record::reader::RowIter;
use ::parquet::schema::types::{Type, TypePtr};
use burn_lora_files::panics::caught;
use serde_json::{Number, Value};

use super::Found;
use crate::error::DataError;
use crate::format::is_known;
use crate::object::Object;

/// The first `limit` rows of the file.
pub(super) fn objects(path: &Path, limit: usize) -> Result<Vec<Found>, DataError> {
    // Whatever the reader leaves half done goes with it.
    caught(|| read(path, limit)).unwrap_or_else(|_| {
        let reason = "its pages are damaged: write the file anew".to_owned();
        Err(DataError::Parquet { path: path.to_owned(), reason })
    })
}

fn read(path: &Path, limit: usize) -> Result<Vec<Found>, DataError> {
    let file = burn_lora_files::open(path)
        .map_err(|source| DataError::Unreadable { path: path.to_owned(), source })?;
    let unreadable = |reason: String| DataError::Parquet { path: path.to_owned(), reason };
    let damaged = |error: ParquetError| unreadable(error.to_string());
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr().root_schema();
    let columns: Vec<TypePtr> =
        schema.get_fields().iter().filter(|column| is_known(column.name())).cloned().collect();
    if let Some(column) = columns.iter().find(|column| !is_readable(column)) {
        let name = column.name();
        return Err(unreadable(format!(
            "the column `{name}` holds neither strings nor numbers nor a list of those or of structs of them"
        )));
    }
    // Every row has every key, so that keys fit no format or fit one whatever is read of them.
    let keys: Object =
        schema.get_fields().iter().map(|key| (key.name().to_owned(), Value::Null)).collect();
    if columns.is_empty() {
        let rows = reader.metadata().file_metadata().num_rows();
        return Ok((rows > 0 && limit > 0).then(|| Found::at(1, Ok(keys))).into_iter().collect());
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(columns).build();
    let projection = Arc::new(projection.map_err(damaged)?);
    let mut found: Vec<Found> = Vec::new();
    for group in 0..reader.num_row_groups() {
        if found.len() >= limit {
            break;
        }
        let group = reader.get_row_group(group).map_err(damaged)?;
        let rows = RowIter::from_row_group(Some(Type::clone(&projection)), group.as_ref());
        for row in rows.map_err(damaged)?.take(limit - found.len()) {
            let mut object = keys.clone();
            for (key, field) in row.map_err(damaged)?.into_columns() {
                object.insert(key, value(field));
            }
            found.push(Found::at(found.len() + 1, Ok(object)));
        }
    }
    Ok(found)
}

fn is_readable(column: &Type) -> bool {
    use ConvertedType as C;
    let info = column.get_basic_info();
    if !info.has_repetition() || info.repetition() == Repetition::REPEATED {
        return false;
    }
    match (column, info.converted_type()) {
        (Type::PrimitiveType { physical_type, .. }, of) => matches!(
            (physical_type, of),
            (Physical::BYTE_ARRAY, C::NONE | C::UTF8 | C::ENUM | C::JSON)
                | (
                    Physical::INT32,
                    C::NONE
                        | C::INT_8
                        | C::INT_16
                        | C::INT_32
                        | C::UINT_8
                        | C::UINT_16
                        | C::UINT_32
                )
                | (Physical::INT64, C::NONE | C::INT_64 | C::UINT_64)
                | (Physical::FLOAT | Physical::DOUBLE | Physical::BOOLEAN, C::NONE)
        ),
        (Type::GroupType { fields, .. }, C::NONE) => {
            !fields.is_empty() && fields.iter().all(|field| is_readable(field))
        }
        // A list is a group of one repeated group of one element.
        (Type::GroupType { fields, .. }, C::LIST) => match &fields[..] {
            [list] => {
                let info = list.get_basic_info();
                !list.is_primitive()
                    && info.has_repetition()
                    && info.repetition() == Repetition::REPEATED
                    && info.converted_type() == C::NONE
                    && matches!(list.get_fields(), [element] if is_readable(element))
            }
            _ => false,
        },
        _ => false,
    }
}

fn value(field: Field) -> Value {
    match field {
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => Number::from_f64(value.into()).map_or(Value::Null, Value::Number),
        Field::Double(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        Field::Str(text) => text.into(),
        // Writers that do not say that a string is one.
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_or(Value::Null, |text| text.into())
        }
        Field::Group(row) => {
            Value::Object(row.into_columns().into_iter().map(|(k, v)| (k, value(v))).collect())
        }
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
