from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ItemType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_TYPE_UNSPECIFIED: _ClassVar[ItemType]
    ITEM_TYPE_PRODUCT: _ClassVar[ItemType]
    ITEM_TYPE_ARTICLE: _ClassVar[ItemType]
    ITEM_TYPE_BANNER: _ClassVar[ItemType]
ITEM_TYPE_UNSPECIFIED: ItemType
ITEM_TYPE_PRODUCT: ItemType
ITEM_TYPE_ARTICLE: ItemType
ITEM_TYPE_BANNER: ItemType

class GetBlocksRequest(_message.Message):
    __slots__ = ("anonymous_id", "user_id", "slots", "at_least_as_fresh", "request_id", "render_id", "context")
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_AS_FRESH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    anonymous_id: str
    user_id: str
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    at_least_as_fresh: str
    request_id: str
    render_id: str
    context: Context
    def __init__(self, anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., at_least_as_fresh: _Optional[str] = ..., request_id: _Optional[str] = ..., render_id: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("market", "device", "referrer", "page_url", "age")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REFERRER_FIELD_NUMBER: _ClassVar[int]
    PAGE_URL_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    market: str
    device: str
    referrer: str
    page_url: str
    age: int
    def __init__(self, market: _Optional[str] = ..., device: _Optional[str] = ..., referrer: _Optional[str] = ..., page_url: _Optional[str] = ..., age: _Optional[int] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("name", "placement", "limit", "item_id", "item_type", "exclude", "cursor", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    placement: str
    limit: int
    item_id: str
    item_type: ItemType
    exclude: _containers.RepeatedScalarFieldContainer[str]
    cursor: str
    filter: str
    def __init__(self, name: _Optional[str] = ..., placement: _Optional[str] = ..., limit: _Optional[int] = ..., item_id: _Optional[str] = ..., item_type: _Optional[_Union[ItemType, str]] = ..., exclude: _Optional[_Iterable[str]] = ..., cursor: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class GetBlocksResponse(_message.Message):
    __slots__ = ("blocks", "person", "server_ms", "request_id", "render_id")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    SERVER_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RENDER_ID_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    person: Person
    server_ms: float
    request_id: str
    render_id: str
    def __init__(self, blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ..., person: _Optional[_Union[Person, _Mapping]] = ..., server_ms: _Optional[float] = ..., request_id: _Optional[str] = ..., render_id: _Optional[str] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("decision_id", "slot", "placement", "title", "items", "fallback", "model_version", "freshness", "at_ms", "next_cursor", "changes")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    slot: str
    placement: str
    title: str
    items: _containers.RepeatedCompositeFieldContainer[BlockItem]
    fallback: str
    model_version: str
    freshness: Freshness
    at_ms: int
    next_cursor: str
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, decision_id: _Optional[str] = ..., slot: _Optional[str] = ..., placement: _Optional[str] = ..., title: _Optional[str] = ..., items: _Optional[_Iterable[_Union[BlockItem, _Mapping]]] = ..., fallback: _Optional[str] = ..., model_version: _Optional[str] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., at_ms: _Optional[int] = ..., next_cursor: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("item_id", "replaced_by", "why")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    replaced_by: str
    why: str
    def __init__(self, item_id: _Optional[str] = ..., replaced_by: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class BlockItem(_message.Message):
    __slots__ = ("item", "score", "source", "reason", "propensity", "urgency")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    URGENCY_FIELD_NUMBER: _ClassVar[int]
    item: CatalogItem
    score: float
    source: str
    reason: Reason
    propensity: float
    urgency: Urgency
    def __init__(self, item: _Optional[_Union[CatalogItem, _Mapping]] = ..., score: _Optional[float] = ..., source: _Optional[str] = ..., reason: _Optional[_Union[Reason, _Mapping]] = ..., propensity: _Optional[float] = ..., urgency: _Optional[_Union[Urgency, _Mapping]] = ...) -> None: ...

class Urgency(_message.Message):
    __slots__ = ("stock", "sale_end_ms")
    STOCK_FIELD_NUMBER: _ClassVar[int]
    SALE_END_MS_FIELD_NUMBER: _ClassVar[int]
    stock: int
    sale_end_ms: int
    def __init__(self, stock: _Optional[int] = ..., sale_end_ms: _Optional[int] = ...) -> None: ...

class CatalogItem(_message.Message):
    __slots__ = ("id", "type", "title", "url", "image_url", "price", "currency", "brand", "category", "full_price")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    FULL_PRICE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: ItemType
    title: str
    url: str
    image_url: str
    price: float
    currency: str
    brand: str
    category: _containers.RepeatedScalarFieldContainer[str]
    full_price: float
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[ItemType, str]] = ..., title: _Optional[str] = ..., url: _Optional[str] = ..., image_url: _Optional[str] = ..., price: _Optional[float] = ..., currency: _Optional[str] = ..., brand: _Optional[str] = ..., category: _Optional[_Iterable[str]] = ..., full_price: _Optional[float] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("text", "evidence_item_id", "event", "at_ms")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    text: str
    evidence_item_id: str
    event: str
    at_ms: int
    def __init__(self, text: _Optional[str] = ..., evidence_item_id: _Optional[str] = ..., event: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ("event_at_ms", "age_ms", "flow_lag_ms", "reached")
    EVENT_AT_MS_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    FLOW_LAG_MS_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    event_at_ms: int
    age_ms: int
    flow_lag_ms: int
    reached: bool
    def __init__(self, event_at_ms: _Optional[int] = ..., age_ms: _Optional[int] = ..., flow_lag_ms: _Optional[int] = ..., reached: _Optional[bool] = ...) -> None: ...

class Person(_message.Message):
    __slots__ = ("person", "intent_tier", "intent_score", "intent_reasons", "stage", "known")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    INTENT_TIER_FIELD_NUMBER: _ClassVar[int]
    INTENT_SCORE_FIELD_NUMBER: _ClassVar[int]
    INTENT_REASONS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    person: str
    intent_tier: str
    intent_score: float
    intent_reasons: _containers.RepeatedCompositeFieldContainer[IntentReason]
    stage: str
    known: bool
    def __init__(self, person: _Optional[str] = ..., intent_tier: _Optional[str] = ..., intent_score: _Optional[float] = ..., intent_reasons: _Optional[_Iterable[_Union[IntentReason, _Mapping]]] = ..., stage: _Optional[str] = ..., known: _Optional[bool] = ...) -> None: ...

class IntentReason(_message.Message):
    __slots__ = ("text", "points")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    text: str
    points: float
    def __init__(self, text: _Optional[str] = ..., points: _Optional[float] = ...) -> None: ...

class GetBlocksBulkRequest(_message.Message):
    __slots__ = ("slots", "people", "request_id", "context", "campaign")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    people: _containers.RepeatedCompositeFieldContainer[BulkPerson]
    request_id: str
    context: Context
    campaign: str
    def __init__(self, slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., people: _Optional[_Iterable[_Union[BulkPerson, _Mapping]]] = ..., request_id: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., campaign: _Optional[str] = ...) -> None: ...

class BlocksPack(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[GetBlocksResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[GetBlocksResponse, _Mapping]]] = ...) -> None: ...

class BulkPerson(_message.Message):
    __slots__ = ("anonymous_id", "user_id", "render_id", "context")
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    anonymous_id: str
    user_id: str
    render_id: str
    context: Context
    def __init__(self, anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., render_id: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ...) -> None: ...

class TrackRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, events: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TrackResponse(_message.Message):
    __slots__ = ("receipts",)
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("position", "message_id", "problem", "call")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    position: str
    message_id: str
    problem: Problem
    call: int
    def __init__(self, position: _Optional[str] = ..., message_id: _Optional[str] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ..., call: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("kind", "path", "expected", "got")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    path: str
    expected: str
    got: str
    def __init__(self, kind: _Optional[str] = ..., path: _Optional[str] = ..., expected: _Optional[str] = ..., got: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("decision_id", "item_ids")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, decision_id: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("block", "anonymous_id", "user_id", "person", "request_id", "render_id", "context", "accounts", "as_taken", "model_version")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    AS_TAKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    block: Block
    anonymous_id: str
    user_id: str
    person: str
    request_id: str
    render_id: str
    context: Context
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    as_taken: bool
    model_version: str
    def __init__(self, block: _Optional[_Union[Block, _Mapping]] = ..., anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., person: _Optional[str] = ..., request_id: _Optional[str] = ..., render_id: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., as_taken: _Optional[bool] = ..., model_version: _Optional[str] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("item_id", "verdict", "detail", "text", "place", "score", "last_score", "rank", "candidates", "sources", "features", "propensity", "now")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LAST_SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    verdict: str
    detail: str
    text: str
    place: int
    score: float
    last_score: float
    rank: int
    candidates: int
    sources: _containers.RepeatedCompositeFieldContainer[SourceShare]
    features: _containers.RepeatedCompositeFieldContainer[FeatureEffect]
    propensity: float
    now: Account
    def __init__(self, item_id: _Optional[str] = ..., verdict: _Optional[str] = ..., detail: _Optional[str] = ..., text: _Optional[str] = ..., place: _Optional[int] = ..., score: _Optional[float] = ..., last_score: _Optional[float] = ..., rank: _Optional[int] = ..., candidates: _Optional[int] = ..., sources: _Optional[_Iterable[_Union[SourceShare, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[FeatureEffect, _Mapping]]] = ..., propensity: _Optional[float] = ..., now: _Optional[_Union[Account, _Mapping]] = ...) -> None: ...

class SourceShare(_message.Message):
    __slots__ = ("source", "share", "reason")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    source: str
    share: float
    reason: Reason
    def __init__(self, source: _Optional[str] = ..., share: _Optional[float] = ..., reason: _Optional[_Union[Reason, _Mapping]] = ...) -> None: ...

class FeatureEffect(_message.Message):
    __slots__ = ("feature", "value", "points")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    feature: str
    value: float
    points: float
    def __init__(self, feature: _Optional[str] = ..., value: _Optional[float] = ..., points: _Optional[float] = ...) -> None: ...
