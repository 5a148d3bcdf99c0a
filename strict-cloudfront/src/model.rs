//! What an account holds: distributions, cache policies, tenants, and their XML.

use super::rules::is_distribution_id;
use super::xml::Element;

/// The region of the sample buckets.
const REGION: &str = "ap-northeast-2";
/// Stands wherever CloudFront says when something was changed.
const LAST_MODIFIED: &str = "2026-11-02T08:15:30.512Z";

/// The managed policy `CachingDisabled`: nothing is cached.
pub const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
/// The managed policy `CachingOptimized`: 1 s, a day, a year.
pub const CACHING_OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";

/// The errors that a distribution may have a page and a TTL for (API reference, CustomErrorResponse).
const ERROR_CODES: [u16; 12] = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504, 505];

/// A distribution as a test describes it.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// Its id.
    pub id: String,
    enabled: bool,
    staging: bool,
    tenant_only: bool,
    default_root_object: String,
    /// Error code, page and seconds.
    error_pages: Vec<(u16, String, Option<u64>)>,
    aliases: Vec<String>,
    origins: Vec<Origin>,
    groups: Vec<(String, Vec<String>)>,
    behaviors: Vec<Behavior>,
    default_behavior: Behavior,
}

impl Distribution {
    /// Enabled, direct, and everything goes to this origin with `CachingOptimized`.
    pub fn new(id: &str, origin: Origin) -> Self {
        Self {
            id: id.to_owned(),
            enabled: true,
            staging: false,
            tenant_only: false,
            default_root_object: String::new(),
            error_pages: Vec::new(),
            aliases: Vec::new(),
            groups: Vec::new(),
            behaviors: Vec::new(),
            default_behavior: Behavior::default_for(&origin.id),
            origins: vec![origin],
        }
    }

    /// One that answers no viewer.
    pub fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }

    /// A staging distribution of a continuous deployment.
    pub fn staging(mut self) -> Self {
        self.staging = true;
        self
    }

    /// `ConnectionMode=tenant-only`: a multi-tenant distribution.
    pub fn tenant_only(mut self) -> Self {
        self.tenant_only = true;
        self
    }

    /// `DefaultRootObject`, which `ListDistributions` does not tell.
    pub fn default_root_object(mut self, key: &str) -> Self {
        self.default_root_object = key.to_owned();
        self
    }

    /// What viewers get instead of an error (the error itself if the path is empty), and for how many
    /// seconds it is cached: `None` where `ListDistributions` does not tell.
    pub fn error_page(mut self, code: u16, path: &str, ttl: impl Into<Option<u64>>) -> Self {
        self.error_pages.push((code, path.to_owned(), ttl.into()));
        self
    }

    /// An alternate domain name.
    pub fn alias(mut self, domain: &str) -> Self {
        self.aliases.push(domain.to_owned());
        self
    }

    /// One more origin.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origins.push(origin);
        self
    }

    /// An origin group: the first member, and the one to fail over to.
    pub fn origin_group(mut self, id: &str, members: [&str; 2]) -> Self {
        self.groups
            .push((id.to_owned(), members.map(str::to_owned).to_vec()));
        self
    }

    /// One more behavior, behind those there are.
    pub fn behavior(mut self, behavior: Behavior) -> Self {
        self.behaviors.push(behavior);
        self
    }

    /// The default behavior in place of the one to the first origin.
    pub fn default_behavior(mut self, behavior: Behavior) -> Self {
        self.default_behavior = behavior;
        self
    }

    /// Does it serve through its tenants only?
    pub fn is_tenant_only(&self) -> bool {
        self.tenant_only
    }

    /// CloudFront accepts no behavior that goes to an origin the distribution does not have, and no
    /// page for an error that it does not cache.
    ///
    /// # Errors
    /// It names the origin, the error, or the id.
    pub fn check(&self) -> Result<(), String> {
        if !is_distribution_id(&self.id) {
            return Err(format!("{:?} is no id of a distribution", self.id));
        }
        for (code, page, _) in &self.error_pages {
            let is_page = page.is_empty() || page.starts_with('/');
            if !ERROR_CODES.contains(code) || !is_page {
                return Err(format!("{}: no error page {page:?} for {code}", self.id));
            }
        }
        let mut behaviors = self.behaviors.iter().chain([&self.default_behavior]);
        let is_missing = |target: &str| {
            !self.origins.iter().any(|origin| origin.id == target)
                && !self.groups.iter().any(|(id, _)| id == target)
        };
        match behaviors.find(|behavior| is_missing(&behavior.target)) {
            Some(behavior) => Err(format!("{}: no origin {}", self.id, behavior.target)),
            None => Ok(()),
        }
    }

    /// An item of `ListDistributions`.
    pub fn summary(&self, etag: &str) -> Element {
        let id = &self.id;
        Element::new("DistributionSummary")
            .text("Id", id)
            .text("ARN", arn(&format!("distribution/{id}")))
            .text("ETag", etag)
            .text("Status", "Deployed")
            .text("LastModifiedTime", LAST_MODIFIED)
            .text("DomainName", self.domain_name())
            .with_all(self.settings())
            .text("HttpVersion", "HTTP2")
            .text("IsIPV6Enabled", true)
            .text("Staging", self.staging)
            .text("ConnectionMode", self.connection_mode())
    }

    /// What `GetDistributionConfig` answers: the default root object is here only.
    pub fn config(&self) -> Element {
        Element::new("DistributionConfig")
            .text("CallerReference", &self.id)
            .text("DefaultRootObject", &self.default_root_object)
            .with_all(self.settings())
            .text("HttpVersion", "http2")
            .text("IsIPV6Enabled", true)
            .text("ContinuousDeploymentPolicyId", "")
            .text("Staging", self.staging)
            .text("ConnectionMode", self.connection_mode())
    }

    fn custom_error_responses(&self) -> Element {
        let response = |(code, path, ttl): &(u16, String, Option<u64>)| {
            Element::new("CustomErrorResponse")
                .text("ErrorCode", code)
                .text("ResponsePagePath", path)
                .text("ResponseCode", if path.is_empty() { "" } else { "200" })
                .maybe("ErrorCachingMinTTL", *ttl)
        };
        let responses = self.error_pages.iter().map(response);
        Element::list("CustomErrorResponses", responses.collect())
    }

    /// What the summary and the configuration share.
    fn settings(&self) -> [Element; 12] {
        let groups = self.groups.iter().map(|(id, members)| group(id, members));
        [
            Element::text_list("Aliases", "CNAME", &self.aliases),
            Element::list("Origins", self.origins.iter().map(Origin::xml).collect()),
            Element::list("OriginGroups", groups.collect()),
            self.default_behavior.xml(),
            Element::list(
                "CacheBehaviors",
                self.behaviors.iter().map(Behavior::xml).collect(),
            ),
            self.custom_error_responses(),
            Element::of("Comment", ""),
            Element::of("PriceClass", "PriceClass_All"),
            Element::of("Enabled", self.enabled),
            viewer_certificate(),
            restrictions(),
            Element::of("WebACLId", ""),
        ]
    }

    fn domain_name(&self) -> String {
        if self.tenant_only {
            return "-".to_owned();
        }
        format!("d{}.cloudfront.net", self.id.to_ascii_lowercase())
    }

    fn connection_mode(&self) -> &'static str {
        if self.tenant_only {
            "tenant-only"
        } else {
            "direct"
        }
    }
}

/// An origin of a distribution.
#[derive(Debug, Clone)]
pub struct Origin {
    id: String,
    domain: String,
    path: String,
}

impl Origin {
    /// Any domain name.
    pub fn new(id: &str, domain: &str) -> Self {
        Self {
            id: id.to_owned(),
            domain: domain.to_owned(),
            path: String::new(),
        }
    }

    /// A bucket by its regional endpoint.
    pub fn s3(id: &str, bucket: &str) -> Self {
        Self::new(id, &format!("{bucket}.s3.{REGION}.amazonaws.com"))
    }

    /// A bucket by its website endpoint.
    pub fn website(id: &str, bucket: &str) -> Self {
        Self::new(id, &format!("{bucket}.s3-website.{REGION}.amazonaws.com"))
    }

    /// `OriginPath`, with its leading slash.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    fn xml(&self) -> Element {
        let is_bucket = self.domain.contains(".s3") && !self.domain.contains(".s3-website");
        Element::new("Origin")
            .text("Id", &self.id)
            .text("DomainName", &self.domain)
            .text("OriginPath", &self.path)
            .with(Element::list("CustomHeaders", Vec::new()))
            .with(if is_bucket {
                Element::new("S3OriginConfig").text("OriginAccessIdentity", "")
            } else {
                Element::new("CustomOriginConfig")
                    .text("HTTPPort", 80)
                    .text("HTTPSPort", 443)
                    .text("OriginProtocolPolicy", "http-only")
            })
            .text("ConnectionAttempts", 3)
            .text("ConnectionTimeout", 10)
            .with(Element::new("OriginShield").text("Enabled", false))
            .text("OriginAccessControlId", "")
    }
}

/// A cache behavior, or the default one when it has no pattern.
#[derive(Debug, Clone)]
pub struct Behavior {
    pattern: Option<String>,
    target: String,
    caching: Caching,
    /// The ARN and the event type of each CloudFront Function.
    functions: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Caching {
    Policy(String),
    Legacy {
        min: Option<i64>,
        default: Option<i64>,
        max: Option<i64>,
        query_string: bool,
        query_string_keys: Vec<String>,
        headers: Vec<String>,
    },
}

impl Behavior {
    /// Paths that match go to this origin or group, with `CachingOptimized`.
    pub fn new(pattern: &str, target: &str) -> Self {
        Self {
            pattern: Some(pattern.to_owned()),
            ..Self::default_for(target)
        }
    }

    /// All other paths go to this origin or group, with `CachingOptimized`.
    pub fn default_for(target: &str) -> Self {
        Self {
            pattern: None,
            target: target.to_owned(),
            caching: Caching::Policy(CACHING_OPTIMIZED.to_owned()),
            functions: Vec::new(),
        }
    }

    /// Runs a CloudFront Function, such as at `viewer-request`.
    pub fn function(mut self, arn: &str, event_type: &str) -> Self {
        self.functions.push((arn.to_owned(), event_type.to_owned()));
        self
    }

    /// With another cache policy.
    pub fn policy(mut self, id: &str) -> Self {
        self.caching = Caching::Policy(id.to_owned());
        self
    }

    /// With the settings of before cache policies: TTLs in seconds, `None` where there is none.
    pub fn legacy(
        mut self,
        min: impl Into<Option<i64>>,
        default: impl Into<Option<i64>>,
        max: impl Into<Option<i64>>,
    ) -> Self {
        self.caching = Caching::Legacy {
            min: min.into(),
            default: default.into(),
            max: max.into(),
            query_string: false,
            query_string_keys: Vec::new(),
            headers: Vec::new(),
        };
        self
    }

    /// Legacy only: forwards query strings; if some are named, only those are in the cache key.
    pub fn forward_query_strings(mut self, keys: &[&str]) -> Self {
        match &mut self.caching {
            Caching::Legacy {
                query_string,
                query_string_keys,
                ..
            } => {
                *query_string = true;
                *query_string_keys = keys.iter().map(ToString::to_string).collect();
            }
            Caching::Policy(id) => panic!("the policy {id} says which query strings"),
        }
        self
    }

    /// Legacy only: forwards these headers, or with `*` all of them.
    pub fn forward_headers(mut self, names: &[&str]) -> Self {
        match &mut self.caching {
            Caching::Legacy { headers, .. } => {
                *headers = names.iter().map(ToString::to_string).collect();
            }
            Caching::Policy(id) => panic!("the policy {id} says which headers"),
        }
        self
    }

    fn xml(&self) -> Element {
        let element = match &self.pattern {
            Some(pattern) => Element::new("CacheBehavior").text("PathPattern", pattern),
            None => Element::new("DefaultCacheBehavior"),
        };
        let function = |(arn, event_type): &(String, String)| {
            Element::new("FunctionAssociation")
                .text("FunctionARN", arn)
                .text("EventType", event_type)
        };
        let functions = self.functions.iter().map(function);
        let element = element
            .text("TargetOriginId", &self.target)
            .with(nobody("TrustedSigners"))
            .with(nobody("TrustedKeyGroups"))
            .text("ViewerProtocolPolicy", "redirect-to-https")
            .with(allowed_methods())
            .text("SmoothStreaming", false)
            .text("Compress", true)
            .with(Element::list("LambdaFunctionAssociations", Vec::new()))
            .with(Element::list("FunctionAssociations", functions.collect()))
            .text("FieldLevelEncryptionId", "");
        match &self.caching {
            Caching::Policy(id) => element.text("CachePolicyId", id),
            Caching::Legacy {
                min,
                default,
                max,
                query_string,
                query_string_keys,
                headers,
            } => element
                .with(
                    Element::new("ForwardedValues")
                        .text("QueryString", query_string)
                        .with(Element::new("Cookies").text("Forward", "none"))
                        .with(Element::text_list("Headers", "Name", headers))
                        .with(Element::text_list(
                            "QueryStringCacheKeys",
                            "Name",
                            query_string_keys,
                        )),
                )
                .maybe("MinTTL", *min)
                .maybe("DefaultTTL", *default)
                .maybe("MaxTTL", *max),
        }
    }
}

/// Which query strings are in the cache key.
#[derive(Debug, Clone)]
pub enum QueryStrings {
    /// None.
    None,
    /// These.
    Whitelist(Vec<String>),
    /// All but these.
    AllExcept(Vec<String>),
    /// All.
    All,
}

/// A cache policy.
#[derive(Debug, Clone)]
pub struct CachePolicy {
    /// Its id.
    pub id: String,
    name: String,
    managed: bool,
    min: i64,
    default: Option<i64>,
    max: Option<i64>,
    query_strings: QueryStrings,
}

impl CachePolicy {
    /// TTLs in seconds, `None` where it has none, and no query strings in the cache key.
    pub fn new(
        id: &str,
        min: i64,
        default: impl Into<Option<i64>>,
        max: impl Into<Option<i64>>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            name: format!("policy-{id}"),
            managed: false,
            min,
            default: default.into(),
            max: max.into(),
            query_strings: QueryStrings::None,
        }
    }

    /// With query strings in the cache key.
    pub fn query_strings(mut self, query_strings: QueryStrings) -> Self {
        self.query_strings = query_strings;
        self
    }

    /// The managed ones the tests use.
    pub fn managed() -> [Self; 2] {
        let managed = |id, name: &str, [min, default, max]: [i64; 3]| Self {
            name: name.to_owned(),
            managed: true,
            ..Self::new(id, min, default, max)
        };
        [
            managed(
                CACHING_OPTIMIZED,
                "Managed-CachingOptimized",
                [1, 86_400, 31_536_000],
            ),
            managed(CACHING_DISABLED, "Managed-CachingDisabled", [0, 0, 0]),
        ]
    }

    /// What `GetCachePolicy` answers.
    pub fn xml(&self) -> Element {
        let compresses = self.max != Some(0);
        let config = Element::new("CachePolicyConfig")
            .text("Comment", "")
            .text("Name", &self.name)
            .maybe("DefaultTTL", self.default)
            .maybe("MaxTTL", self.max)
            .text("MinTTL", self.min)
            .with(
                Element::new("ParametersInCacheKeyAndForwardedToOrigin")
                    .text("EnableAcceptEncodingGzip", compresses)
                    .text("EnableAcceptEncodingBrotli", compresses)
                    .with(Element::new("HeadersConfig").text("HeaderBehavior", "none"))
                    .with(Element::new("CookiesConfig").text("CookieBehavior", "none"))
                    .with(self.query_strings_config()),
            );
        Element::new("CachePolicy")
            .text("Id", &self.id)
            .text("LastModifiedTime", LAST_MODIFIED)
            .with(config)
    }

    /// `managed` or `custom`.
    pub fn kind(&self) -> &'static str {
        if self.managed { "managed" } else { "custom" }
    }

    fn query_strings_config(&self) -> Element {
        let (behavior, names) = match &self.query_strings {
            QueryStrings::None => ("none", None),
            QueryStrings::Whitelist(names) => ("whitelist", Some(names)),
            QueryStrings::AllExcept(names) => ("allExcept", Some(names)),
            QueryStrings::All => ("all", None),
        };
        Element::new("QueryStringsConfig")
            .text("QueryStringBehavior", behavior)
            .with_all(names.map(|names| Element::text_list("QueryStrings", "Name", names)))
    }
}

/// A tenant of a multi-tenant distribution.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its distribution's id.
    pub distribution: String,
    /// Does it answer viewers?
    pub enabled: bool,
    /// What it fills the placeholders of its distribution's origins with.
    pub parameters: Vec<(String, String)>,
}

impl Tenant {
    /// Its name, by which some calls know it too.
    pub fn name(&self) -> &str {
        self.id.strip_prefix("dt_").unwrap_or(&self.id)
    }

    /// What `GetDistributionTenant` answers: as in the list, and the parameters.
    pub fn config_xml(&self) -> Element {
        let member = |(name, value): &(String, String)| {
            Element::new("member")
                .text("Name", name)
                .text("Value", value)
        };
        let members = self.parameters.iter().map(member);
        let parameters = Element::new("Parameters").with_all(members);
        self.xml("DistributionTenant").with(parameters)
    }

    /// An item of `ListDistributionTenants`.
    pub fn xml(&self, name: &str) -> Element {
        let id = &self.id;
        let domain = Element::new("member")
            .text("Domain", format!("{id}.example.com"))
            .text("Status", "active");
        Element::new(name)
            .text("Id", id)
            .text("DistributionId", &self.distribution)
            .text("Name", self.name())
            .text("Arn", arn(&format!("distribution-tenant/{id}")))
            .with(Element::new("Domains").with(domain))
            .text("ConnectionGroupId", "cg_2whCJoXMYCjHcxaLGrkllvyABC")
            .text("CreatedTime", LAST_MODIFIED)
            .text("LastModifiedTime", LAST_MODIFIED)
            .text("ETag", "E23ZP02F085DFQ")
            .text("Enabled", self.enabled)
            .text("Status", "Deployed")
    }
}

fn arn(resource: &str) -> String {
    format!("arn:aws:cloudfront::123456789012:{resource}")
}

fn group(id: &str, members: &[String]) -> Element {
    let codes = Element::text_list("StatusCodes", "StatusCode", &[403, 404, 500, 502, 503, 504]);
    let members = members
        .iter()
        .map(|member| Element::new("OriginGroupMember").text("OriginId", member));
    Element::new("OriginGroup")
        .text("Id", id)
        .with(Element::new("FailoverCriteria").with(codes))
        .with(Element::list("Members", members.collect()))
        .text("SelectionCriteria", "default")
}

fn nobody(name: &str) -> Element {
    Element::new(name)
        .text("Enabled", false)
        .quantity(Vec::new())
}

fn allowed_methods() -> Element {
    let methods = ["HEAD", "GET"];
    Element::text_list("AllowedMethods", "Method", &methods).with(Element::text_list(
        "CachedMethods",
        "Method",
        &methods,
    ))
}

fn viewer_certificate() -> Element {
    Element::new("ViewerCertificate")
        .text("CloudFrontDefaultCertificate", true)
        .text("SSLSupportMethod", "vip")
        .text("MinimumProtocolVersion", "TLSv1")
        .text("CertificateSource", "cloudfront")
}

fn restrictions() -> Element {
    let geo = Element::new("GeoRestriction")
        .text("RestrictionType", "none")
        .quantity(Vec::new());
    Element::new("Restrictions").with(geo)
}
