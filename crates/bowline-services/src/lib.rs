//! What AWS's own service models say: services, operations, and the shapes of what goes in and comes out.
//!
//! One generated table holds all services (`data/README.md` says where it comes from); a service is unpacked when
//! it is first asked for and then kept. There are names, types and places on the wire in it, and no prose.
//!
//! ```
//! let ecs = bowline_services::find("ECS").expect("a service of the table");
//! let run = ecs.operation("RunTask").expect("an operation of it");
//! let output = ecs.shape(run.output.expect("it answers something"));
//! assert!(output.member("tasks").is_some());
//! assert!(bowline_services::find("lamda").is_err_and(|unknown| unknown.nearest == Some("lambda")));
//! ```

mod nearest;
mod service;
mod table;

pub use nearest::nearest;
pub use service::{
    Location, Member, Meta, Operation, Protocol, Scalar, Service, Shape, ShapeId, TimeFormat,
};
pub use table::{Unknown, botocore_version, find, names};
