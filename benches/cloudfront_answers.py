"""What CloudFront answers: an account with one distribution, of three behaviors and a cache policy of its own."""

DISTRIBUTION = "E1WWWEXAMPLE01"
VERSION = "/2020-05-31/"
NAMESPACE = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
CUSTOM_POLICY = "11111111-2222-3333-4444-555555555555"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
NONE = "<Quantity>0</Quantity>"


def document(text: str) -> bytes:
    """An answer."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def behavior(policy: str) -> str:
    """What all behaviors have."""
    return (
        "<TargetOriginId>s3</TargetOriginId><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy>"
        f"<CachePolicyId>{policy}</CachePolicyId>"
    )


BEHAVIORS = "".join(
    f"<CacheBehavior><PathPattern>{pattern}</PathPattern>{behavior(policy)}</CacheBehavior>"
    for pattern, policy in {
        "/api/*": CACHING_DISABLED,
        "*.html": CUSTOM_POLICY,
        "/assets/*.css": CUSTOM_POLICY,
    }.items()
)
SETTINGS = (
    "<Origins><Quantity>1</Quantity><Items><Origin><Id>s3</Id>"
    "<DomainName>example-site.s3.us-east-1.amazonaws.com</DomainName><OriginPath></OriginPath>"
    f"<CustomHeaders>{NONE}</CustomHeaders><S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity>"
    f"</S3OriginConfig></Origin></Items></Origins><DefaultCacheBehavior>{behavior(CUSTOM_POLICY)}"
    f"</DefaultCacheBehavior><CacheBehaviors><Quantity>3</Quantity><Items>{BEHAVIORS}</Items></CacheBehaviors>"
    "<Comment></Comment><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled>"
)
LIST = document(
    f'<DistributionList xmlns="{NAMESPACE}"><Marker></Marker><MaxItems>100</MaxItems>'
    f"<IsTruncated>false</IsTruncated><Quantity>1</Quantity><Items><DistributionSummary><Id>{DISTRIBUTION}</Id>"
    f"<ARN>arn:aws:cloudfront::123456789012:distribution/{DISTRIBUTION}</ARN><ETag>E1</ETag><Status>Deployed</Status>"
    "<LastModifiedTime>2026-11-21T00:00:00Z</LastModifiedTime><DomainName>d1.cloudfront.net</DomainName>"
    f"<Aliases>{NONE}</Aliases>{SETTINGS}<ViewerCertificate></ViewerCertificate><Restrictions><GeoRestriction>"
    f"<RestrictionType>none</RestrictionType>{NONE}</GeoRestriction></Restrictions><WebACLId></WebACLId>"
    "<HttpVersion>http2</HttpVersion><IsIPV6Enabled>true</IsIPV6Enabled><Staging>false</Staging>"
    "</DistributionSummary></Items></DistributionList>"
)
CONFIG = document(
    f'<DistributionConfig xmlns="{NAMESPACE}"><CallerReference>r</CallerReference>'
    f"<DefaultRootObject>index.html</DefaultRootObject>{SETTINGS}</DistributionConfig>"
)
POLICY = document(
    f'<CachePolicy xmlns="{NAMESPACE}"><Id>{CUSTOM_POLICY}</Id>'
    "<LastModifiedTime>2026-11-21T00:00:00Z</LastModifiedTime><CachePolicyConfig><Name>site</Name>"
    "<MinTTL>1</MinTTL><DefaultTTL>86400</DefaultTTL><MaxTTL>31536000</MaxTTL></CachePolicyConfig></CachePolicy>"
)
CREATED = document(
    f'<Invalidation xmlns="{NAMESPACE}"><Id>I1</Id><Status>InProgress</Status>'
    "<CreateTime>2026-11-21T00:00:00Z</CreateTime><InvalidationBatch><Paths><Quantity>0</Quantity></Paths>"
    "<CallerReference>r</CallerReference></InvalidationBatch></Invalidation>"
)


def answer(method: str, path: str) -> tuple[str, int, bytes]:
    """The operation, the status and the body for a path below the API's version."""
    match method, path.rstrip("/").split("/"):
        case "GET", ["distribution"]:
            return "ListDistributions", 200, LIST
        case "GET", ["distribution", _, "config"]:
            return "GetDistributionConfig", 200, CONFIG
        case "GET", ["cache-policy", _]:
            return "GetCachePolicy", 200, POLICY
        case "POST", ["distribution", _, "invalidation"]:
            return "CreateInvalidation", 201, CREATED
    raise ValueError(f"the stand-in knows no {method} {path}")
