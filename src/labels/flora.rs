//! Flowers by name: which class names are flowers, and what these are called in Chinese.

use std::collections::BTreeMap;

use super::Labels;

/// The Chinese name of a kind of flower, whatever case, plural and punctuation its English name
/// is written with: `tiger lily`, `Tiger_Lilies` and `tigerlily` are one.
pub fn chinese(name: &str) -> Option<&'static str> {
    let name = letters(name);
    let singular = name.strip_suffix('s').unwrap_or(&name);
    let lily = singular.strip_suffix("ie").map(|stem| format!("{stem}y"));
    let is_meant = |known: &str| {
        let known = letters(known);
        known == name || known == singular || Some(&known) == lily.as_ref()
    };
    let mut names = NAMES.iter();
    names
        .find(|(english, _)| is_meant(english))
        .map(|(_, chinese)| *chinese)
}

/// The classes that have a Chinese name, with it.
pub fn chinese_names(labels: &Labels) -> BTreeMap<&str, &'static str> {
    let names = labels.names().iter();
    let known = names.filter_map(|name| Some((name.as_str(), chinese(name)?)));
    known.collect()
}

/// What a page calls what it classifies: `flower` or `picture`.
pub fn subject(labels: &Labels) -> &'static str {
    match are_flowers(labels.names().iter().map(String::as_str)) {
        true => "flower",
        false => "picture",
    }
}

/// Whether these classes are kinds of flowers: at least nine in ten have a known English or
/// Chinese name.
pub fn are_flowers<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> bool {
    let classes = names.len();
    let strangers = names.filter(|name| !is_flower(name)).count();
    strangers < classes && strangers <= classes / 10
}

fn is_flower(name: &str) -> bool {
    chinese(name).is_some() || NAMES.iter().any(|(_, chinese)| *chinese == name)
}

fn letters(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

const NAMES: &[(&str, &str)] = &[
    // The drawn set.
    ("rose", "玫瑰"),
    ("tulip", "郁金香"),
    ("sunflower", "向日葵"),
    ("daisy", "雏菊"),
    ("dandelion", "蒲公英"),
    ("lily", "百合"),
    ("iris", "鸢尾"),
    ("orchid", "兰花"),
    ("poppy", "罂粟花"),
    ("lavender", "薰衣草"),
    // The rest of the Oxford sets of 12 and 17 kinds.
    ("bluebell", "蓝铃花"),
    ("buttercup", "毛茛"),
    ("coltsfoot", "款冬"),
    ("fritillary", "贝母"),
    ("lily of the valley", "铃兰"),
    ("lily valley", "铃兰"),
    ("pansy", "三色堇"),
    ("tiger lily", "卷丹"),
    ("windflower", "银莲花"),
    ("snowdrop", "雪滴花"),
    ("crocus", "番红花"),
    ("cowslip", "黄花九轮草"),
    ("daffodil", "黄水仙"),
    // The rest of the Oxford set of 102 kinds.
    ("pink primrose", "美丽月见草"),
    ("hard-leaved pocket orchid", "硬叶兜兰"),
    ("canterbury bells", "风铃草"),
    ("sweet pea", "香豌豆"),
    ("english marigold", "金盏菊"),
    ("moon orchid", "蝴蝶兰"),
    ("bird of paradise", "鹤望兰"),
    ("monkshood", "乌头"),
    ("globe thistle", "蓝刺头"),
    ("snapdragon", "金鱼草"),
    ("king protea", "帝王花"),
    ("spear thistle", "翼蓟"),
    ("yellow iris", "黄菖蒲"),
    ("globe flower", "金莲花"),
    ("purple coneflower", "紫松果菊"),
    ("peruvian lily", "六出花"),
    ("balloon flower", "桔梗"),
    ("giant white arum lily", "马蹄莲"),
    ("fire lily", "珠芽百合"),
    ("pincushion flower", "蓝盆花"),
    ("red ginger", "红花月桃"),
    ("grape hyacinth", "葡萄风信子"),
    ("corn poppy", "虞美人"),
    ("prince of wales feathers", "凤尾鸡冠花"),
    ("stemless gentian", "无茎龙胆"),
    ("artichoke", "洋蓟"),
    ("sweet william", "须苞石竹"),
    ("carnation", "康乃馨"),
    ("garden phlox", "宿根福禄考"),
    ("love in the mist", "黑种草"),
    ("mexican aster", "波斯菊"),
    ("alpine sea holly", "高山刺芹"),
    ("ruby-lipped cattleya", "卡特兰"),
    ("cape flower", "娜丽花"),
    ("great masterwort", "大星芹"),
    ("siam tulip", "姜荷花"),
    ("lenten rose", "铁筷子"),
    ("barbeton daisy", "非洲菊"),
    ("sword lily", "唐菖蒲"),
    ("poinsettia", "一品红"),
    ("bolero deep blue", "洋桔梗"),
    ("wallflower", "桂竹香"),
    ("marigold", "万寿菊"),
    ("oxeye daisy", "滨菊"),
    ("common dandelion", "蒲公英"),
    ("petunia", "矮牵牛"),
    ("wild pansy", "野生三色堇"),
    ("primula", "报春花"),
    ("pelargonium", "天竺葵"),
    ("bishop of llandaff", "红花大丽花"),
    ("gaura", "山桃草"),
    ("geranium", "老鹳草"),
    ("orange dahlia", "橙色大丽花"),
    ("pink-yellow dahlia", "粉黄大丽花"),
    ("cautleya spicata", "红苞距药姜"),
    ("japanese anemone", "秋牡丹"),
    ("black-eyed susan", "黑心金光菊"),
    ("silverbush", "银旋花"),
    ("californian poppy", "花菱草"),
    ("osteospermum", "蓝目菊"),
    ("spring crocus", "春番红花"),
    ("bearded iris", "德国鸢尾"),
    ("tree poppy", "裂叶罂粟"),
    ("gazania", "勋章菊"),
    ("azalea", "杜鹃花"),
    ("water lily", "睡莲"),
    ("thorn apple", "曼陀罗"),
    ("morning glory", "牵牛花"),
    ("passion flower", "西番莲"),
    ("lotus", "荷花"),
    ("toad lily", "油点草"),
    ("anthurium", "红掌"),
    ("frangipani", "鸡蛋花"),
    ("clematis", "铁线莲"),
    ("hibiscus", "朱槿"),
    ("columbine", "耧斗菜"),
    ("desert rose", "沙漠玫瑰"),
    ("tree mallow", "花葵"),
    ("magnolia", "玉兰"),
    ("cyclamen", "仙客来"),
    ("watercress", "豆瓣菜"),
    ("canna lily", "美人蕉"),
    ("hippeastrum", "朱顶红"),
    ("bee balm", "美国薄荷"),
    ("ball moss", "铁兰"),
    ("foxglove", "毛地黄"),
    ("bougainvillea", "三角梅"),
    ("camellia", "山茶"),
    ("mallow", "锦葵"),
    ("mexican petunia", "翠芦莉"),
    ("bromelia", "观赏凤梨"),
    ("blanket flower", "天人菊"),
    ("trumpet creeper", "凌霄"),
    ("blackberry lily", "射干"),
    // Others that people train on.
    ("aster", "紫菀"),
    ("astilbe", "落新妇"),
    ("begonia", "秋海棠"),
    ("bellflower", "风铃草"),
    ("calendula", "金盏花"),
    ("california poppy", "花菱草"),
    ("cherry blossom", "樱花"),
    ("chrysanthemum", "菊花"),
    ("common daisy", "雏菊"),
    ("coreopsis", "金鸡菊"),
    ("dahlia", "大丽花"),
    ("forget-me-not", "勿忘我"),
    ("freesia", "香雪兰"),
    ("gardenia", "栀子花"),
    ("gerbera", "非洲菊"),
    ("gladiolus", "唐菖蒲"),
    ("hyacinth", "风信子"),
    ("hydrangea", "绣球花"),
    ("jasmine", "茉莉花"),
    ("lilac", "丁香"),
    ("narcissus", "水仙"),
    ("peony", "牡丹"),
    ("plum blossom", "梅花"),
    ("ranunculus", "花毛茛"),
    ("violet", "紫罗兰"),
    ("zinnia", "百日菊"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_makes_no_difference() {
        for name in ["colts-foot", "colt's foot", "Coltsfoot", "colts_foot"] {
            assert_eq!(chinese(name), Some("款冬"), "{name}");
        }
        for name in ["tigerlily", "Tiger Lilies", "tiger_lily"] {
            assert_eq!(chinese(name), Some("卷丹"), "{name}");
        }
        assert_eq!(chinese("roses"), Some("玫瑰"));
        assert_eq!(chinese("iris"), Some("鸢尾"));
        for name in ["", "s", "ies", "cat", "玫瑰", "!?"] {
            assert_eq!(chinese(name), None, "{name}");
        }
    }

    #[test]
    fn a_few_strangers_among_flowers_do_not_matter() {
        let judged = |names: &[&str]| are_flowers(names.iter().copied());
        assert!(judged(&["rose", "玫瑰", "lily-valley"]));
        assert!(!judged(&["rose", "cat"]));
        assert!(!judged(&[]));
        let mut eleven = vec!["tulip"; 10];
        eleven.push("none of these");
        assert!(judged(&eleven));
    }

    #[test]
    fn no_name_is_there_twice() {
        let mut names: Vec<String> = NAMES.iter().map(|(english, _)| letters(english)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }
}
