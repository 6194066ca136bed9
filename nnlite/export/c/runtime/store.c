/* Two slots: what is written goes into the one that is not the newest, its head last, so that a
   power cut at any byte leaves the other as it was. */

/* CRC-32 (ISO 3309) of n bytes, going on from `crc` (0 to begin with) */
static uint32_t ws_crc(uint32_t crc, const uint8_t *bytes, size_t n) {
    size_t i;
    int bit;
    crc = ~crc & 0xffffffffU;
    for (i = 0; i < n; ++i) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; ++bit) {
            crc = crc & 1 ? (crc >> 1) ^ 0xedb88320U : crc >> 1;
        }
    }
    return ~crc & 0xffffffffU;
}

static void ws_put32(uint8_t *to, uint32_t value) {
    int i;
    for (i = 0; i < 4; ++i) {
        to[i] = (uint8_t)(value >> (8 * i) & 0xff);
    }
}

static uint32_t ws_get32(const uint8_t *from) {
    uint32_t value = 0;
    int i;
    for (i = 0; i < 4; ++i) {
        value |= (uint32_t)from[i] << (8 * i);
    }
    return value;
}

/* the number of a slot's writing, from 1; 0 where the slot holds none of this network, or a torn one.
   A slot: which network (4 bytes), the number, the CRC-32 of that and of what follows, n bytes. */
static uint32_t ws_slot(const uint8_t *slot, uint32_t network, size_t n) {
    uint32_t crc;
    if (ws_get32(slot) != network) {
        return 0;
    }
    crc = ws_crc(ws_crc(0, slot, 8), slot + 12, n);
    return crc == ws_get32(slot + 8) ? ws_get32(slot + 4) : 0;
}

/* which of two slots to read: 0 or 1; -1 where neither is whole. Numbers may have gone round. */
static int ws_newest(uint32_t first, uint32_t second) {
    if (first == 0 || second == 0) {
        return first ? 0 : second ? 1 : -1;
    }
    return (uint32_t)(second - first) < 0x80000000U ? 1 : 0;
}

/* whether n saved labels are all below `classes` */
static int ws_labels_within(const uint8_t *labels, size_t n, uint32_t classes) {
    size_t i;
    for (i = 0; i < n; ++i) {
        int32_t label;
        memcpy(&label, labels + 4 * i, sizeof label);
        if (label < 0 || (uint32_t)label >= classes) {
            return 0;
        }
    }
    return 1;
}
