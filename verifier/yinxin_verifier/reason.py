"""What a check may find: indications, sub-indications, reasons and their words.

The vocabulary is ETSI EN 319 102-1's (§5.1.3); where the field lacks a word
(recognition, scope of licence types, suspension), ours are in the same style
and marked so. Every finding is a constant here, so the set of possible
reasons can be read, tested and translated in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple


class Indication(StrEnum):
    """The verdict (EN 319 102-1 §5.1.3, main status indication)."""

    TOTAL_PASSED = "TOTAL_PASSED"
    TOTAL_FAILED = "TOTAL_FAILED"
    INDETERMINATE = "INDETERMINATE"


class SubIndication(StrEnum):
    """Why a verdict is not TOTAL_PASSED."""

    FORMAT_FAILURE = "FORMAT_FAILURE"
    HASH_FAILURE = "HASH_FAILURE"
    SIG_CRYPTO_FAILURE = "SIG_CRYPTO_FAILURE"
    SIG_CONSTRAINTS_FAILURE = "SIG_CONSTRAINTS_FAILURE"
    CHAIN_CONSTRAINTS_FAILURE = "CHAIN_CONSTRAINTS_FAILURE"
    NO_CERTIFICATE_CHAIN_FOUND = "NO_CERTIFICATE_CHAIN_FOUND"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    TRY_LATER = "TRY_LATER"
    NO_POE = "NO_POE"
    OUT_OF_BOUNDS_NO_POE = "OUT_OF_BOUNDS_NO_POE"
    REVOKED_NO_POE = "REVOKED_NO_POE"
    # Ours, in the same style.
    REGION_NOT_RECOGNISED = "REGION_NOT_RECOGNISED"
    KEY_NOT_TRUSTED = "KEY_NOT_TRUSTED"
    KEY_SUSPENDED = "KEY_SUSPENDED"
    KEY_COMPROMISED = "KEY_COMPROMISED"
    TYPE_NOT_IN_SCOPE = "TYPE_NOT_IN_SCOPE"
    LOG_PROOF_FAILURE = "LOG_PROOF_FAILURE"
    SUSPENDED = "SUSPENDED"
    FROZEN = "FROZEN"
    HOLDER_NOT_BOUND = "HOLDER_NOT_BOUND"
    PURPOSE_NOT_ALLOWED = "PURPOSE_NOT_ALLOWED"


class Outcome(StrEnum):
    """What one check came to."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    UNDETERMINED = "UNDETERMINED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """There was nothing to check, and the policy did not ask for it."""
    NOT_RUN = "NOT_RUN"
    """A check that this one builds on did not pass."""


class Text(NamedTuple):
    """A sentence for people, in both languages."""

    zh: str
    en: str


NO_TEXT: Final = Text("", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result other than a plain pass."""

    outcome: Outcome
    sub_indication: SubIndication | None
    """None where the outcome does not touch the verdict."""
    code: str
    """Stable name of this finding."""
    text: Text
    """What was found."""
    advice: Text = NO_TEXT
    """What the person at the window can do about it."""
    detail: str | None = None
    """Narrower stable reason, from the parser or proof that refused."""

    @property
    def reason(self) -> str:
        """The narrowest stable reason known."""
        return self.code if self.detail is None else self.detail

    def because(self, detail: str) -> Finding:
        """Return this finding with a narrower reason."""
        return replace(self, detail=detail)


def _failed(sub: SubIndication, code: str, zh: str, en: str) -> Finding:
    return Finding(Outcome.FAILED, sub, code, Text(zh, en))


def _unclear(
    sub: SubIndication, code: str, zh: str, en: str, advice_zh: str, advice_en: str
) -> Finding:
    return Finding(Outcome.UNDETERMINED, sub, code, Text(zh, en), Text(advice_zh, advice_en))


def _moot(code: str, zh: str, en: str) -> Finding:
    return Finding(Outcome.NOT_APPLICABLE, None, code, Text(zh, en))


_S = SubIndication
_NEWER_PACK: Final = ("请更新离线核验包后重试", "update the offline pack and try again")
_LATER: Final = ("请稍后重试或联网核验", "try again later, or verify online")
_RECEIPT: Final = (
    "请持证人重新下载带存证回执的证照文件，或联网核验",
    "have the holder download the licence file with its receipt again, or verify online",
)

# 1 format, 2 type
FORMAT: Final = _failed(
    _S.FORMAT_FAILURE, "FORMAT", "证照文件格式不正确", "the licence file is malformed"
)
TOKEN_TYPE: Final = _failed(
    _S.FORMAT_FAILURE, "TOKEN_TYPE", "不是证照凭证", "the token is not a licence"
)
LICENCE_TYPE: Final = _failed(
    _S.FORMAT_FAILURE,
    "LICENCE_TYPE",
    "证照类型标识不正确",
    "the licence type (vct) is not one this system defines",
)
# 3 recognition, 4 freshness
REGION: Final = _failed(
    _S.REGION_NOT_RECOGNISED,
    "REGION_NOT_RECOGNISED",
    "本地区未与颁发地区互认",
    "the issuing region is not recognised here",
)
TRUST_EXPIRED: Final = _unclear(
    _S.TRY_LATER,
    "TRUST_EXPIRED",
    "信任列表已过期",
    "the trust list has expired",
    *_NEWER_PACK,
)
TRUST_STALE: Final = _unclear(
    _S.TRY_LATER,
    "TRUST_STALE",
    "信任列表超过策略允许的时限",
    "the trust list is older than the policy allows",
    *_NEWER_PACK,
)
ISSUER: Final = _failed(
    _S.FORMAT_FAILURE,
    "ISSUER",
    "颁发机构标识（iss）不正确",
    "the issuer (iss) is not of the form that licences use",
)
# 5 issuer key
KEY_NOT_TRUSTED: Final = _failed(
    _S.KEY_NOT_TRUSTED,
    "KEY_NOT_TRUSTED",
    "签发密钥不在信任列表中",
    "the signing key is not in the trust list",
)
KEY_OF_ANOTHER: Final = _failed(
    _S.KEY_NOT_TRUSTED,
    "KEY_OF_ANOTHER_AUTHORITY",
    "签发密钥不属于所称的颁发机构",
    "the signing key is not the named authority's",
)
ALGORITHM: Final = _failed(
    _S.SIG_CONSTRAINTS_FAILURE,
    "ALGORITHM",
    "签名算法与密钥登记不符",
    "the signature algorithm is not the one registered for this key",
)
SUITE_UNKNOWN: Final = _unclear(
    _S.TRY_LATER,
    "SUITE_UNKNOWN",
    "本核验软件不支持该密钥的算法",
    "this verifier lacks the suite that the signing key belongs to",
    "请更新核验软件",
    "update the verifier",
)
# 6 chain
NO_CHAIN: Final = _failed(
    _S.NO_CERTIFICATE_CHAIN_FOUND,
    "NO_CHAIN",
    "证书链不能追溯到本地区证照签发机构",
    "the certificate chain does not lead to the region's licence CA",
)
CHAIN_CONSTRAINTS: Final = _failed(
    _S.CHAIN_CONSTRAINTS_FAILURE,
    "CHAIN_CONSTRAINTS",
    "证书链不满足签发证照的要求",
    "the certificate chain does not meet the rules for licence signing",
)
# 7 signature, 8 disclosures
SIGNATURE: Final = _failed(
    _S.SIG_CRYPTO_FAILURE,
    "SIGNATURE",
    "签名不正确，证照系伪造或被篡改",
    "the signature is broken: the licence is forged or altered",
)
DISCLOSURE: Final = _failed(
    _S.HASH_FAILURE,
    "DISCLOSURE",
    "出示的字段与签名内容不一致",
    "a disclosed field does not match what was signed",
)
# 9 claims, 10 identifier
CLAIMS: Final = _failed(
    _S.FORMAT_FAILURE,
    "CLAIMS",
    "证照必备内容缺失或格式不正确",
    "a claim that every licence carries is missing or malformed",
)
IDENTIFIER: Final = _failed(
    _S.FORMAT_FAILURE,
    "IDENTIFIER",
    "证照标识不正确",
    "the licence identifier is malformed",
)
IDENTIFIER_CHECK: Final = _failed(
    _S.FORMAT_FAILURE,
    "IDENTIFIER_CHECK",
    "证照标识校验位不正确",
    "the check character of the licence identifier is wrong",
)
IDENTIFIER_MISMATCH: Final = _failed(
    _S.SIG_CONSTRAINTS_FAILURE,
    "IDENTIFIER_MISMATCH",
    "证照标识与证照类型或颁发机构不一致",
    "the identifier contradicts the licence type or the issuing authority",
)
# 11 opening, 12 inclusion, 13 checkpoint
NO_RECEIPT: Final = _unclear(
    _S.NO_POE,
    "NO_RECEIPT",
    "缺少存证回执，无法确认证照已登记",
    "there is no receipt to show that the licence was logged",
    *_RECEIPT,
)
RECEIPT_NOT_ASKED: Final = _moot(
    "RECEIPT_NOT_REQUIRED", "策略未要求存证回执", "the policy does not ask for a receipt"
)
LOG_CONFIRMED: Final = _moot(
    "LOG_CONFIRMED",
    "颁发地区已联网确认登记",
    "the issuing region's own log confirmed the licence",
)
NOT_LOGGED: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "NOT_LOGGED",
    "颁发地区的登记日志中没有此证照",
    "the issuing region's log does not hold this licence",
)
LOG_UNREACHABLE: Final = _unclear(
    _S.TRY_LATER,
    "LOG_UNREACHABLE",
    "未能联系颁发地区的登记日志",
    "the issuing region's log could not be asked",
    *_LATER,
)
OPENING: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "OPENING",
    "登记内容的说明（opening）不正确",
    "the opening of the log's entry is malformed",
)
RECEIPT: Final = _failed(
    _S.LOG_PROOF_FAILURE, "RECEIPT", "存证回执格式不正确", "the receipt is malformed"
)
INCLUSION: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "INCLUSION",
    "存证证明不成立：登记的不是所出示的证照",
    "the log does not hold exactly this licence where the receipt says",
)
LOG_UNKNOWN: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "LOG_UNKNOWN",
    "回执所属日志不在信任列表中",
    "the receipt's log is not in the trust list",
)
CHECKPOINT: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "CHECKPOINT",
    "日志检查点签名不正确",
    "the log's signature on the checkpoint does not hold",
)
LOG_BROKEN: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "LOG_KEY_BROKEN",
    "该日志的 Ed25519 密钥已不可信，检查点没有抗量子（ML-DSA-44）签名",
    "the log's Ed25519 key proves nothing any more, and no ML-DSA-44 signature is on the"
    " checkpoint",
)
EQUIVOCATION: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "LOG_EQUIVOCATION",
    "回执与核验包中的日志相互矛盾",
    "the receipt's tree contradicts the pack's checkpoint of the same log",
)
BEYOND_CLOSE: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "BEYOND_CLOSED_LOG",
    "回执晚于该日志密钥的停用位置",
    "the receipt lies beyond the point at which this log's key was retired",
)
SEAL_OTHER_ENTRY: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "SEALED_LOG_OTHER_ENTRY",
    "该日志已封存，封存的日志在该序号登记的不是此证照",
    "the log is sealed, and its last good tree holds another entry at that index",
)
BEYOND_SEAL: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "BEYOND_SEALED_LOG",
    "登记晚于该日志的封存位置",
    "the entry lies beyond the point at which this log was sealed",
)
SEAL_UNLINKED: Final = _unclear(
    _S.NO_POE,
    "SEAL_CONSISTENCY_UNAVAILABLE",
    "该日志已封存，缺少回执与封存位置的一致性证明",
    "the log is sealed, and no proof ties the receipt to its last good head",
    *_RECEIPT,
)
# 14 key state
KEY_SUSPENDED: Final = _failed(
    _S.KEY_SUSPENDED,
    "KEY_SUSPENDED",
    "签发密钥已暂停使用",
    "the signing key is suspended",
)
KEY_NOT_YET: Final = _failed(
    _S.NOT_YET_VALID,
    "KEY_NOT_YET_VALID",
    "证照早于签发密钥的启用时间",
    "the licence claims a date before its signing key came into use",
)
KEY_AFTER_END: Final = _failed(
    _S.KEY_NOT_TRUSTED,
    "KEY_USED_AFTER_END",
    "证照晚于签发密钥的停用时间",
    "the licence claims a date after its signing key was retired",
)
KEY_RETIRED: Final = _unclear(
    _S.NO_POE,
    "KEY_RETIRED_NO_POE",
    "签发密钥已停用，且无法证明证照签发在先",
    "the signing key is retired, and nothing proves that the licence existed before",
    *_RECEIPT,
)
RETIRED_BEYOND: Final = _failed(
    _S.KEY_NOT_TRUSTED,
    "KEY_RETIRED_LATER_ENTRY",
    "签发密钥已退役，证照登记在其最后一次签发之后",
    "the signing key is retired, and the entry lies beyond all that it signed",
)
RETIRED_CONTRADICTED: Final = _failed(
    _S.LOG_PROOF_FAILURE,
    "KEY_RETIRED_CONTRADICTED",
    "签发密钥已退役，且回执与其锚定的日志不一致",
    "the signing key is retired, and the receipt contradicts the tree pinned for it",
)
KEY_COMPROMISED: Final = _failed(
    _S.KEY_COMPROMISED,
    "KEY_COMPROMISED",
    "签发密钥已泄露",
    "the signing key is compromised, and no entry of it stands",
)
PIN_NO_RECEIPT: Final = _failed(
    _S.KEY_COMPROMISED,
    "KEY_COMPROMISED_NO_RECEIPT",
    "签发密钥已泄露，且证照没有存证回执",
    "the signing key is compromised, and the licence has no receipt",
)
PIN_OTHER_ENTRY: Final = _failed(
    _S.KEY_COMPROMISED,
    "KEY_COMPROMISED_OTHER_ENTRY",
    "签发密钥已泄露，且锚定的日志在该序号登记的不是此证照",
    "the signing key is compromised, and the pinned tree holds another entry at that index",
)
PIN_UNLINKED: Final = _unclear(
    _S.NO_POE,
    "PIN_CONSISTENCY_UNAVAILABLE",
    "签发密钥已泄露，缺少回执与锚定日志的一致性证明",
    "the signing key is compromised, and no proof ties the receipt to the pinned tree",
    *_RECEIPT,
)
PIN_INCONSISTENT: Final = _failed(
    _S.KEY_COMPROMISED,
    "PIN_INCONSISTENT",
    "签发密钥已泄露，且回执与锚定的日志不一致",
    "the signing key is compromised, and the receipt's tree contradicts the pinned one",
)
PIN_BEYOND: Final = _failed(
    _S.KEY_COMPROMISED,
    "KEY_COMPROMISED_LATER_ENTRY",
    "签发密钥已泄露，证照登记在安全位置之后且未经重新确认",
    "the signing key is compromised, and the entry is neither before the safe index"
    " nor re-attested",
)
# 15 certificate period, 16 certificate revocation
CERTIFICATE_EARLY: Final = _failed(
    _S.CHAIN_CONSTRAINTS_FAILURE,
    "CERTIFICATE_NOT_YET_VALID",
    "证照早于签发证书的生效时间",
    "the licence claims a date before its certificate was valid",
)
CERTIFICATE_EXPIRED: Final = _unclear(
    _S.OUT_OF_BOUNDS_NO_POE,
    "CERTIFICATE_EXPIRED_NO_POE",
    "签发证书已过期，且无法证明证照签发在先",
    "the signing certificate has expired, and nothing proves that the licence existed before",
    *_RECEIPT,
)
CERTIFICATE_REVOKED: Final = _failed(
    _S.REVOKED,
    "CERTIFICATE_REVOKED",
    "签发证书在证照签发前已被吊销",
    "the signing certificate was revoked before the licence's own date",
)
CERTIFICATE_REVOKED_NO_POE: Final = _unclear(
    _S.REVOKED_NO_POE,
    "CERTIFICATE_REVOKED_NO_POE",
    "签发证书已被吊销，且无法证明证照签发在先",
    "the signing certificate is revoked, and nothing proves that the licence existed before",
    *_RECEIPT,
)
REVOCATION_UNKNOWN: Final = _unclear(
    _S.TRY_LATER,
    "REVOCATION_UNKNOWN",
    "没有可用的证书吊销列表",
    "there is no usable certificate revocation list",
    *_NEWER_PACK,
)
REVOCATION_NOT_AT_HAND: Final = _moot(
    "REVOCATION_NOT_AT_HAND",
    "没有证书吊销列表，策略未要求",
    "no complete set of revocation lists was at hand, and the policy does not ask for one",
)
# 17 scope
TYPE_NOT_IN_SCOPE: Final = _failed(
    _S.TYPE_NOT_IN_SCOPE,
    "TYPE_NOT_IN_SCOPE",
    "该机构无权颁发此类证照",
    "the authority may not issue licences of this type",
)
SCOPE_NOT_THEN: Final = _failed(
    _S.TYPE_NOT_IN_SCOPE,
    "TYPE_NOT_IN_SCOPE_THEN",
    "该机构在签发时无权颁发此类证照",
    "the authority could not issue licences of this type at the licence's own date",
)
SCOPE_ENDED: Final = _unclear(
    _S.OUT_OF_BOUNDS_NO_POE,
    "SCOPE_ENDED_NO_POE",
    "该机构的颁发权限已终止，且无法证明证照签发在先",
    "the authority's power to issue has ended, and nothing proves that the licence existed before",
    *_RECEIPT,
)
# 18 validity
NOT_YET_VALID: Final = _failed(
    _S.NOT_YET_VALID, "NOT_YET_VALID", "证照尚未生效", "the licence is not yet valid"
)
EXPIRED: Final = _failed(_S.EXPIRED, "EXPIRED", "证照已过有效期", "the licence has expired")
# 19 status
STATUS_UNAVAILABLE: Final = _unclear(
    _S.TRY_LATER,
    "STATUS_UNAVAILABLE",
    "未能取得证照状态",
    "the licence's status could not be had",
    *_LATER,
)
STATUS_STALE: Final = _unclear(
    _S.TRY_LATER,
    "STATUS_STALE",
    "证照状态信息超过策略允许的时限",
    "the status information is older than the policy allows",
    *_NEWER_PACK,
)
STATUS_OLDER: Final = _unclear(
    _S.TRY_LATER,
    "STATUS_OLDER_THAN_LICENCE",
    "证照状态信息早于证照本身",
    "the status list is older than the licence and cannot speak for it",
    *_NEWER_PACK,
)
STATUS_NOT_THEN: Final = _unclear(
    _S.TRY_LATER,
    "STATUS_NOT_KNOWN_THEN",
    "没有该时点的证照状态记录",
    "no signed status speaks for the moment asked about",
    *_LATER,
)
STATUS_INDEX: Final = _failed(
    _S.FORMAT_FAILURE,
    "STATUS_INDEX",
    "证照状态引用超出范围",
    "the licence's status index is outside its list",
)
STATUS_UNKNOWN: Final = _unclear(
    _S.TRY_LATER,
    "STATUS_VALUE",
    "证照状态值无法识别",
    "the status list holds a value that this verifier does not know",
    "请更新核验软件",
    "update the verifier",
)
REVOKED: Final = _failed(
    _S.REVOKED, "REVOKED", "证照已失效（吊销、撤销或注销）", "the licence is no longer in force"
)
SUSPENDED: Final = _failed(_S.SUSPENDED, "SUSPENDED", "证照已暂扣", "the licence is suspended")
FROZEN: Final = _failed(
    _S.FROZEN, "FROZEN", "证照已冻结或挂失", "the licence is frozen or reported lost"
)
# 20 holder binding
BINDING_MISSING: Final = _failed(
    _S.HOLDER_NOT_BOUND,
    "HOLDER_BINDING_MISSING",
    "出示时未附持证人密钥的证明",
    "the presentation lacks the holder's proof of possession",
)
BINDING: Final = _failed(
    _S.HOLDER_NOT_BOUND,
    "HOLDER_BINDING",
    "持证人密钥的证明不成立",
    "the holder's proof of possession does not hold",
)
HOLDER_KEY_ABSENT: Final = _failed(
    _S.HOLDER_NOT_BOUND,
    "HOLDER_KEY_ABSENT",
    "策略要求持证人密钥证明，而证照未绑定密钥",
    "the policy wants the holder's proof, and the licence names no holder key",
)
NO_HOLDER_KEY: Final = _moot(
    "NO_HOLDER_KEY", "证照未绑定持证人密钥", "the licence names no holder key"
)
BINDING_NOT_ASKED: Final = _moot(
    "HOLDER_BINDING_NOT_ASKED", "核验请求未要求持证人证明", "the request does not ask for it"
)
# 21 purpose
PURPOSE: Final = _failed(
    _S.PURPOSE_NOT_ALLOWED,
    "PURPOSE_NOT_ALLOWED",
    "用证事由不在策略允许范围内",
    "the purpose is not one that the policy allows",
)
PURPOSE_MISSING: Final = _failed(
    _S.PURPOSE_NOT_ALLOWED,
    "PURPOSE_MISSING",
    "未说明用证事由",
    "no purpose was stated, and the policy asks for one",
)
PURPOSE_NOT_ASKED: Final = _moot(
    "PURPOSE_NOT_ASKED", "策略未限定用证事由", "the policy does not limit the purpose"
)
