#!/bin/sh
# Some nightly import, as it has been for years. It prints what it does.
say() {
    printf '%s\n' "$1"
    sleep 0.3
}

say 'reading customers.csv'
say 'row  1  Anna Müller, Große Straße 12'
say 'row  2  王小明，北京市朝阳区'
say 'row  3  你好，世界'
say 'row  4  Zoë Sørensen <zoe@example.org>'
say 'row  5  Ελένη Παπαδοπούλου'
say 'row  6  山田太郎、東京都'
say 'row  7  <script>alert("only text")</script> & so is this'
say 'row  8  محمد علي'
say 'row  9  data: looks like a field, and is none'
say 'row 10  👩🏽‍🔧 🚤'
say 'warning: row 11 has no postal code'
say 'row 12  Søren Ångström'
say 'writing the index'
say 'done'
