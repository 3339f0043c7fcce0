"""Write examples/approvals-putian.csv: 200 approvals as departments export them.

    python tools/make_examples.py           write the file
    python tools/make_examples.py --check   fail when the file there differs

Every person, body and matter is invented. Numbers pass their checks and belong
to nobody: citizens' carry birth dates of the 1880s, organisations' a series
that is not allocated, authorities' names the word 示例 (example). The same
bytes come out every time: nothing is drawn but from a hash of a counter.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

from yinxin_proto.checkdigit import citizen_id_check, credit_code_check, organisation_check

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "examples" / "approvals-putian.csv"
CATALOGUE = ROOT / "trust" / "yinxin_trust" / "catalogue_data"

LEADING_COLUMNS = (
    "办件编号",
    "事项编码",
    "事项名称",
    "证照类型代码",
    "证照名称",
    "颁发机构",
    "颁发机构代码",
    "证照编号",
    "颁发日期",
    "有效期起始日期",
    "有效期截止日期",
    "持证主体",
    "持证主体代码",
    "持证主体代码类型代码",
)
SEPARATOR = ";"
"""Between the holders of one licence."""
OPEN_END = "长期"

SURNAMES = "陈林黄郑吴蔡许杨李张方翁余卓苏柯"
GIVEN = "文秀志海国梅丽英明建清春雪德金玉福荣华安宁思远若兰子涵一诺晓东"
DISTRICTS = {
    "350302": ("城厢区", ("龙桥街道", "凤凰山街道", "霞林街道")),
    "350303": ("涵江区", ("涵东街道", "涵西街道", "江口镇")),
    "350304": ("荔城区", ("镇海街道", "拱辰街道", "黄石镇")),
    "350305": ("秀屿区", ("笏石镇", "东庄镇", "埭头镇")),
    "350322": ("仙游县", ("鲤城街道", "榜头镇", "度尾镇")),
}
STREETS = ("兰花路", "荔枝巷", "木兰大道", "望海街", "书院路", "桂圆街")
WORDS = ("兰溪", "荔影", "海丝", "湄风", "壶兰", "九鲤", "木兰", "白塘", "延寿", "天云")


class Draw:
    """A stream of choices that is the same on every machine and every Python."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def below(self, bound: int) -> int:
        """Return an integer in ``range(bound)``."""
        self._count += 1
        digest = hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()
        return int.from_bytes(digest[:8]) % bound

    def one(self, choices: Sequence[T]) -> T:
        """Return one of ``choices``."""
        return choices[self.below(len(choices))]


@dataclass(frozen=True)
class Holder:
    """An invented holder."""

    name: str
    number: str
    number_type: str
    district: str
    head: str = ""
    """Legal representative of a company, or keeper of a shop."""
    address: str = ""
    """Domicile of a company."""


@dataclass(frozen=True)
class Authority:
    """An invented issuing authority."""

    name: str
    code: str


@dataclass
class Approval:
    """One row, its fields by their Chinese display names."""

    type_code: str
    authority: Authority
    number: str
    issued_on: date
    holders: Sequence[Holder]
    fields: dict[str, str] = field(default_factory=dict)
    valid_until: date | None = None


def credit_code(kind: str, region: str, series: str, number: int) -> str:
    """Return a unified social credit code with both check characters (GB 32100)."""
    organisation = f"{series}{number:04}"
    body = f"{kind}{region}{organisation}{organisation_check(organisation)}"
    return body + credit_code_check(body)


def _authority(number: int, region: str, name: str) -> Authority:
    return Authority(name=name, code=credit_code("11", region, "MBYY", number))


MARKET = _authority(1, "350302", "莆田市城厢区示例市场监督管理局")
CIVIL_AFFAIRS = _authority(2, "350302", "莆田市城厢区示例民政局")
HEALTH = _authority(3, "350300", "莆田市示例卫生健康委员会")
LAND = _authority(4, "350300", "莆田市示例自然资源局")
ECOLOGY = _authority(5, "350300", "莆田市示例生态环境局")

BUSINESS_LICENCE = "11100000MB0143028R001"
FOOD_LICENCE = "11100000MB0143028R002"
REAL_ESTATE = "11100000MB03271699001"
MARRIAGE = "11100000000013274Y001"
PHYSICIAN = "111000000000133970002"
ENVIRONMENT = "111000000000145848001"


class Town:
    """The invented people and companies of one file, and what was approved for them."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._people = 0
        self.companies: list[Holder] = []

    def person(self, *, male: bool) -> Holder:
        """Return another citizen, born between 1880 and 1889."""
        self._people += 1
        draw, district = self._draw, self._draw.one(list(DISTRICTS))
        born = date(1880, 1, 1) + timedelta(days=draw.below(3652))
        sequence = 2 * self._people % 1000 + male
        body = f"{district}{born:%Y%m%d}{sequence:03}"
        return Holder(self.name(), body + citizen_id_check(body), "111", district)

    def name(self) -> str:
        """Return a name of two or three characters."""
        given = "".join(self._draw.one(GIVEN) for _ in range(1 + self._draw.below(2)))
        return self._draw.one(SURNAMES) + given

    def company(self, trade: str, *, sole: bool = False) -> Holder:
        """Return another company, or a sole trader's shop (个体工商户)."""
        number = len(self.companies) + 1
        region = self._draw.one(list(DISTRICTS))
        district = DISTRICTS[region][0]
        word = self._draw.one(WORDS)
        name = f"{district}示例{word}{trade}{number}号店" if sole else ""
        name = name or f"莆田市示例{word}{trade}{number}有限公司"
        code = credit_code("92" if sole else "91", region, "MAYY", number)
        holder = Holder(name, code, "001", region, self.name(), self.address(region))
        self.companies.append(holder)
        return holder

    def address(self, region: str) -> str:
        """Return an address that does not exist."""
        district, towns = DISTRICTS[region]
        street, number = self._draw.one(STREETS), 9000 + self._draw.below(900)
        return f"福建省莆田市{district}{self._draw.one(towns)}{street}{number}号"

    def day(self, *, quarter: int = 2) -> date:
        """Return a day of issue in a quarter of 2026."""
        return date(2026, 3 * quarter - 2, 5) + timedelta(days=self._draw.below(80))

    def business_licence(self, index: int) -> Approval:
        """Approve 营业执照."""
        sole = index % 3 == 2
        trade = self._draw.one(("食品", "餐饮", "茶业", "水产", "工艺", "贸易"))
        holder, issued = self.company(trade, sole=sole), self.day(quarter=1)
        capital = f"{self._draw.one((50, 100, 200, 500, 1000))}万元人民币"
        return Approval(
            BUSINESS_LICENCE,
            MARKET,
            holder.number,
            issued,
            [holder],
            {
                "类型": "个体工商户" if sole else "有限责任公司（自然人投资或控股）",
                "法定代表人": holder.head,
                "注册资本": "" if sole else capital,
                "组成形式": "个人经营" if sole else "",
                "成立日期": issued.isoformat(),
                "住所": holder.address,
                "经营范围": f"许可项目：食品销售。一般项目：{trade}产品销售；技术服务。",
            },
        )

    def food_licence(self, index: int) -> Approval:
        """Approve 食品经营许可证, for a company that has its business licence."""
        holder, issued = self.companies[index], self.day()
        kind = ("食品销售经营者", "餐饮服务经营者", "集中用餐单位食堂")[index % 3]
        items = (
            "预包装食品销售；散装食品销售" if index % 3 == 0 else "热食类食品制售；冷食类食品制售"
        )
        return Approval(
            FOOD_LICENCE,
            MARKET,
            f"JY{index % 3 + 1}{holder.district}{index + 1:06}{index % 10}",
            issued,
            [holder],
            {
                "法定代表人": holder.head,
                "住所": holder.address,
                "经营场所": holder.address,
                "主体业态": kind,
                "经营项目": items,
                "日常监督管理机构": MARKET.name,
                "投诉举报电话": "12315",
                "签发人": self.name(),
            },
            valid_until=issued.replace(year=issued.year + 5) - timedelta(days=1),
        )

    def real_estate(self, index: int) -> Approval:
        """Approve 不动产权证书; every third is owned by a couple."""
        owners = [self.person(male=True)]
        if index % 3 == 0:
            owners.append(self.person(male=False))
        region = owners[0].district
        area = 60 + self._draw.below(120)
        return Approval(
            REAL_ESTATE,
            LAND,
            f"闽（2026）莆田市不动产权第{index + 1:07}号",
            self.day(),
            owners,
            {
                "共有情况": "共同共有" if len(owners) > 1 else "单独所有",
                "坐落": f"{self.address(region)}{1 + index % 20}0{1 + index % 4}室",
                "不动产单元号": f"{region}001002GB{index + 1:05}F{index + 1:08}",
                "权利类型": "国有建设用地使用权/房屋所有权",
                "权利性质": "出让/市场化商品房",
                "用途": "城镇住宅用地/住宅",
                "面积": f"房屋建筑面积{area}.{self._draw.below(90) + 10}平方米",
                "使用期限": "国有建设用地使用权至2089年12月31日止",
            },
        )

    def physician(self, index: int) -> Approval:
        """Approve 医师执业证书."""
        male = index % 2 == 0
        holder = self.person(male=male)
        category, scope = (("临床", "内科专业"), ("口腔", "口腔专业"), ("中医", "中医专业"))[
            index % 3
        ]
        return Approval(
            PHYSICIAN,
            HEALTH,
            f"{110 + index % 4}350300{index + 1:06}",
            self.day(),
            [holder],
            {
                "性别": "男" if male else "女",
                "医师资格证书编码": f"2025351103500000{index + 1:08}",
                "执业级别": "执业助理医师" if index % 5 == 4 else "执业医师",
                "执业类别": category,
                "执业范围": scope,
                "执业地点": "福建省莆田市",
                "主要执业机构": f"莆田市示例第{'一二三四'[index % 4]}医院",
            },
        )

    def marriage(self, index: int) -> Approval:
        """Approve 结婚证, with two holders."""
        issued = self.day()
        return Approval(
            MARRIAGE,
            CIVIL_AFFAIRS,
            f"J350302-2026-{index + 1:06}",
            issued,
            [self.person(male=True), self.person(male=False)],
            {
                "登记日期": issued.isoformat(),
                "婚姻登记员": self.name(),
                "持证人一国籍": "中国",
                "持证人二国籍": "中国",
            },
        )

    def environment(self, index: int) -> Approval:
        """Approve 建设项目环境影响评价文件批复."""
        holder, issued = self.companies[3 * index], self.day()
        project = f"{self._draw.one(WORDS)}加工生产线{self._draw.one(('建设', '扩建', '改造'))}项目"
        report = "环境影响报告书" if index % 4 == 0 else "环境影响报告表"
        return Approval(
            ENVIRONMENT,
            ECOLOGY,
            f"莆示环审〔2026〕{index + 1}号",
            issued,
            [holder],
            {
                "项目名称": project,
                "项目代码": f"2512-{holder.district}-04-01-{900000 + index:06}",
                "建设地点": self.address(holder.district),
                "建设性质": ("新建", "扩建", "技术改造")[index % 3],
                "文件类别": report,
                "批复内容": f"原则同意《{project}{report}》的评价结论，按所列措施建设。",
            },
            valid_until=issued.replace(year=issued.year + 5) - timedelta(days=1),
        )


def approvals() -> Iterator[Approval]:
    """Yield the 200 approvals, kind by kind."""
    town = Town(Draw("莆田"))
    kinds: tuple[tuple[Callable[[int], Approval], int], ...] = (
        (town.business_licence, 60),
        (town.food_licence, 50),
        (town.real_estate, 35),
        (town.physician, 25),
        (town.marriage, 18),
        (town.environment, 12),
    )
    for approve, count in kinds:
        yield from map(approve, range(count))


def render() -> str:
    """Return the file's text, in the order of issue."""
    catalogue = {
        entry["code"]: entry
        for entry in map(json.loads, (p.read_bytes() for p in sorted(CATALOGUE.glob("*.json"))))
    }
    rows = sorted(approvals(), key=lambda approval: approval.issued_on)
    columns = dict.fromkeys(LEADING_COLUMNS)
    for code in dict.fromkeys(row.type_code for row in rows):
        names = catalogue[code]["display_names"].values()
        columns |= dict.fromkeys(name["zh"] for name in names)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(rows, start=1):
        entry = catalogue[row.type_code]
        writer.writerow(_leading(number, row, entry["name"]["zh"], entry["service_items"][0]))
    return out.getvalue()


def _leading(number: int, row: Approval, name: str, item: dict[str, str]) -> dict[str, str]:
    until = OPEN_END if row.valid_until is None else row.valid_until.isoformat()
    values = (
        f"SL{row.issued_on:%Y%m%d}{number:06}",
        item["code"],
        item["name"],
        row.type_code,
        name,
        row.authority.name,
        row.authority.code,
        row.number,
        row.issued_on.isoformat(),
        row.issued_on.isoformat(),
        until,
        SEPARATOR.join(holder.name for holder in row.holders),
        SEPARATOR.join(holder.number for holder in row.holders),
        SEPARATOR.join(holder.number_type for holder in row.holders),
    )
    return dict(zip(LEADING_COLUMNS, values, strict=True)) | row.fields


def main() -> int:
    """Write the file, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    text = render()
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} differs from its generator; run make generate", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
