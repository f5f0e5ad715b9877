"""Text for the tiny models' tokenizer: made up from word lists and sentence patterns, so it is ours to ship.

English prose, Chinese sentences, tables as Markdown and HTML, JSON, a little code, numbers. Deterministic.
"""

import random

NOUNS = """account age agent air animal answer apple area arm army article artist attention author baby back bag ball
band bank base basket bed bell bill bird birth board boat body bone book border bottle bottom box boy branch bread
bridge brother budget building bus business button cake camera camp capital captain car card case cat cause cell
centre century chain chair chance change chapter chart child choice church circle city class clock cloud club coast
coat code coffee colour column comment company computer condition contract copy corner cost cotton council country
couple course court cover cream crowd cup current customer cycle damage dance danger data date daughter day deal debt
decision degree delivery demand department depth desert design desk detail device diagram dictionary difference
dinner direction disease distance doctor document dog dollar door dream dress driver duty ear earth east economy edge
education effect egg election energy engine error evening event evidence example exercise experience expert eye face
factor factory failure family farm father field figure file film finger fire fish flag flight floor flower food foot
force forest form frame friend fruit function future game garden gas gate girl glass goal gold government grass group
growth guest guide hair half hall hand harbour hat head header health heart heat height history hole holiday home
horse hospital hotel hour house ice idea image industry information insect interest invoice island item job journey
judge key kind king kitchen knife knowledge label lady lake lamp land language law leader leaf leg lesson letter
level library life light limit line link list load loan lunch machine map mark market material matter meal measure
meat medicine meeting member memory message metal method middle milk mind minute mirror model moment money month moon
morning mother mountain mouth movement museum music name nation nature neck need network news night noise north nose
note number object ocean office oil operation option orange order owner page pain paint pair paper parent park part
partner party path patient payment pen people percent period person phone picture piece pipe place plan plane planet
plant plate player pocket point police pool population port position power price prince problem process product
program project property public purpose quality quantity quarter question radio rain range rate reader reason record
region relation report request research rest result river road rock role roof room root rose row rule safety sale
salt sample sand scale scene school science score screen sea season seat second secret section seed sense sentence
series service shape sheet ship shirt shoe shop shoulder show side sign signal silver sister site size skin sky snow
society soil soldier solution son song sound source south space speaker species speed sport spring square stage stamp
star state station step stock stone store storm story street structure student study style subject sugar summer sun
surface system table tail task tax teacher team term test text theory thing thought ticket time title tool tooth top
total town trade train travel tree trip trouble truth type uncle union unit user valley value vehicle version video
view village voice wall war water wave way weather week weight wheel wife wind window wine winter woman wood word
work worker world writer yard year""".split()
VERBS = """accept add agree allow answer appear apply arrive ask avoid become begin believe belong break bring build
buy call carry catch change check choose clean climb close collect compare complete connect consider contain continue
control cook count create cross cut decide deliver depend describe design develop discover discuss divide draw drink
drive drop eat enter examine exist expect explain extend fail fall feed feel fight fill find finish follow forget
form gain gather give grow guess handle happen hear help hide hold hope improve include increase introduce join jump
keep know laugh lead learn leave lift listen live look lose love make manage mark measure meet mention miss move need
notice offer open order own pass pay perform pick plan play point prepare present prevent print produce promise
protect prove provide pull push put raise reach read receive recognise record reduce refer remain remember remove
repair repeat replace reply report represent require rest return ride ring rise roll run save say search see seem
sell send separate serve set settle shake share shine show shut sing sit sleep smile solve speak spend stand start
stay step stop study succeed suggest supply support suppose take talk teach tell test thank think throw touch train
travel treat try turn understand use visit vote wait walk want warn wash watch wear win wish wonder
work worry write""".split()
ADJECTIVES = """able active afraid alone ancient angry available bad beautiful best better big bitter black blue
brave brief bright broad brown busy calm careful central cheap clean clear clever cold common complete cool correct
daily dark dead dear deep different difficult direct dry early eastern easy electric empty equal exact famous fast
fat final fine first flat foreign free fresh full general gentle good great green grey happy hard healthy heavy high
hot human ill important international kind large last late left legal light little local long loud low main male
medical military modern monthly narrow national natural necessary new next nice northern old open original pale
patient perfect personal physical plain pleasant poor popular possible present private proper public quick quiet rare
ready real red regular rich right rough round royal safe second serious sharp short sick silent similar simple single
slow small smooth social soft solid southern special square steady strange strong sudden sweet tall tender thick thin
third tight tiny total true typical unusual useful usual warm weak western wet white whole wide wild wise wonderful
wrong yellow young""".split()
ADVERBS = """again almost already also always away carefully certainly clearly completely directly easily especially
even ever exactly finally generally here however immediately indeed instead just later maybe mostly nearly never
normally now often once only particularly perhaps probably quickly quietly quite rather really recently simply slowly
sometimes soon still suddenly then there therefore today together tomorrow usually very well yesterday""".split()
NAMES = """Alice Ben Carol David Emma Frank Grace Henry Irene Jack Karen Liam Maria Nora Oscar Paul Quinn Rosa Sam
Tina Umar Vera Will Xenia Yusuf Zoe London Paris Berlin Madrid Rome Vienna Oslo Cairo Delhi Tokyo Beijing Shanghai
Sydney Boston Chicago Toronto Europe Asia Africa America China India France Germany Japan Monday Tuesday Wednesday
Thursday Friday Saturday Sunday January February March April May June July August September October
November December""".split()
CHINESE = """我 你 他 她 我们 他们 这 那 什么 怎么 为什么 谁 哪里 多少 今天 明天 昨天 现在 以后 以前 时间 年 月 日
星期 早上 下午 晚上 中国 北京 上海 世界 城市 国家 学校 学生 老师 朋友 孩子 家 人 男人 女人 名字 工作
公司 经理 医生 医院 问题 答案 方法 结果 原因 图片 图像 表格 文字 数字 内容 数据 模型 语言 文件 代码 系统
电脑 手机 网络 信息 颜色 红色 蓝色 绿色 白色 黑色 大 小 高 低 长 短 新 旧 好 坏 多 少 快 慢 早 晚 漂亮
重要 容易 困难 是 有 在 看 听 说 读 写 想 知道 喜欢 需要 可以 应该 能 会 要 去 来 到 回 给 做 吃 喝 买
卖 学习 帮助 使用 描述 回答 识别 包括 开始 结束 增加 减少 表示 显示 认为 觉得 吗 呢 吧 了 的 地 得 着 过
和 或者 但是 因为 所以 如果 虽然 就 都 也 还 很 非常 最 更 不 没有 一个 两个 第一 第二 全部 部分 水 火
山 河 海 天空 太阳 月亮 树 花 鸟 鱼 猫 狗 马 车 路 门 书 桌子 足球 比赛 音乐 电影 价格 数量 总计 金额
日期 地址 电话 商品 编号 姓名 单位 备注 请 谢谢 您好 再见 左边 右边 上面 下面 中间 里面 外面""".split()
DETERMINERS = "the the the a this that each every our their his her my your some any no one another".split()
PREPOSITIONS = (
    "of of in in on at to for from with by about after before between under over near against through into".split()
)
PRONOUNS = "I you he she it we they there who which what everyone someone nothing".split()
AUXILIARIES = """can,could,will,would,should,must,may,is,are,was,were,has,have,had,be,been,do,did,does not,is not,are not,
didn't,can't,isn't,it's,you're,I'm,they've,we'll,let us,please,want to,able to,helpful"""
AUXILIARIES = [word.strip() + " " for word in AUXILIARIES.split(",")] + [""]
HEADERS = """Name Item Date Price Quantity Total Unit Amount Address City Country Code Number Score Grade Year Month
Region Product Category Status Type Description Remark Weight Height Age Phone Email Rate Tax
Discount Balance""".split()
CODE = [
    "def {n}({m}):\n    return {m} + {d}\n",
    "for (int i = 0; i < {n}; ++i) {{\n  {m}[i] = {n}(i);\n}}\n",
    'if {n} is None:\n    raise ValueError("{m} is missing")\n',
    "import {n}\nfrom {m} import {n} as {m}\n",
    "const {n} = await {m}.{n}({{ {m}: {d} }});\n",
    "SELECT {n}, {m} FROM {n} WHERE {m} = {d};\n",
]


class Writer:
    def __init__(self, seed: int = 1):
        self.random = random.Random(seed)

    def pick(self, words):
        return words[int(self.random.random() * len(words))]

    def number(self) -> str:
        kind = int(self.random.random() * 5)
        value = int(self.random.random() * 10 ** (1 + int(self.random.random() * 5)))
        if kind == 0:
            return f"{value:,}"
        if kind == 1:
            return f"{value / 100:.2f}"
        if kind == 2:
            return f"{1990 + value % 40}-{1 + value % 12:02}-{1 + value % 28:02}"
        return f"{value % 100}%" if kind == 3 else str(value)

    def verb(self) -> str:
        verb, form = self.pick(VERBS), int(self.random.random() * 4)
        if form == 1:
            return verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")
        if form == 2:
            return (verb[:-1] if verb.endswith("e") else verb) + "ing"
        if form == 3:
            return verb + ("d" if verb.endswith("e") else "ed")
        return verb

    def noun_phrase(self) -> str:
        noun = self.pick(NOUNS) + ("s" if self.random.random() < 0.3 else "")
        adjective = self.pick(ADJECTIVES) + " " if self.random.random() < 0.5 else ""
        return f"{self.pick(DETERMINERS)} {adjective}{noun}"

    def clause(self) -> str:
        subject = self.pick([self.pick(NAMES), self.pick(PRONOUNS), self.noun_phrase(), self.noun_phrase()])
        auxiliary = self.pick(["", ""] + AUXILIARIES)
        tail = f" {self.pick(PREPOSITIONS)} {self.noun_phrase()}" if self.random.random() < 0.6 else ""
        adverb = " " + self.pick(ADVERBS) if self.random.random() < 0.3 else ""
        return f"{subject} {auxiliary}{self.verb()} {self.noun_phrase()}{tail}{adverb}"

    def sentence(self) -> str:
        text = self.clause()
        if self.random.random() < 0.4:
            text += (
                self.pick([", and ", ", but ", " because ", "; ", ", which ", " when ", " if ", " so that "])
                + self.clause()
            )
        if self.random.random() < 0.15:
            text += f" ({self.number()})"
        if self.random.random() < 0.1:
            text = f'"{text}," says {self.pick(NAMES)}'
        if self.random.random() < 0.1:
            text = (
                self.pick(
                    [
                        "What",
                        "Who",
                        "Where",
                        "How many",
                        "Please describe",
                        "Read the table:",
                        "I think",
                        "I'm sure",
                        "You're right:",
                    ]
                )
                + " "
                + text
            )
        return text[0].upper() + text[1:] + self.pick([".", ".", ".", ".", "?", "!"])

    def chinese(self) -> str:
        words = [self.pick(CHINESE) for _ in range(4 + int(self.random.random() * 10))]
        if self.random.random() < 0.3:
            words.insert(len(words) // 2, self.pick(["，", "、", "：", self.number()]))
        return "".join(words) + self.pick(["。", "。", "？", "！"])

    def table(self) -> str:
        columns = [self.pick(HEADERS) for _ in range(2 + int(self.random.random() * 4))]
        rows = [
            [
                self.pick([self.number(), self.number(), self.pick(NAMES), self.pick(NOUNS), self.pick(CHINESE)])
                for _ in columns
            ]
            for _ in range(2 + int(self.random.random() * 5))
        ]
        kind = int(self.random.random() * 4)
        if kind == 0:
            lines = ["| " + " | ".join(columns) + " |", "|" + "|".join(" --- " for _ in columns) + "|"]
            return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
        if kind == 1:
            cells = "".join(f"<th>{column}</th>" for column in columns)
            body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
            return f"<table>\n<tr>{cells}</tr>\n{body}</table>"
        if kind == 2:
            records = (", ".join(f'"{column.lower()}": "{cell}"' for column, cell in zip(columns, row)) for row in rows)
            return "[\n" + ",\n".join(f"  {{{record}}}" for record in records) + "\n]"
        return "\n".join([",".join(columns)] + [",".join(row) for row in rows])

    def dialogue(self) -> str:
        turns = (f"{role}\n{self.sentence()}\n" for role in ("system", "user", "assistant", "user", "assistant"))
        return "\n".join(turns)

    def code(self) -> str:
        return self.pick(CODE).format(n=self.pick(NOUNS), m=self.pick(NOUNS), d=self.number())


def documents(count: int = 12000):
    """Yields `count` documents of a few lines each."""
    writer = Writer()
    for i in range(count):
        kind = i % 8
        if kind == 0:
            yield writer.dialogue()
        elif kind < 4:
            yield " ".join(writer.sentence() for _ in range(5))
        elif kind < 6:
            yield writer.table()
        elif kind == 6:
            yield "".join(writer.chinese() for _ in range(4)) + "\n"
        else:
            yield (
                "# "
                + writer.noun_phrase()
                + "\n\n"
                + "\n".join(f"- {writer.sentence()}" for _ in range(3))
                + "\n\n"
                + writer.code()
            )
