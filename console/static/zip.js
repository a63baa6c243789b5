// Makes a ZIP archive in the browser, without compression: pictures are compressed already.
// The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT

const VERSION = 20;
const UTF_8 = 0x0800; // the flag of names in UTF-8
const DOS_1980 = 0x0021; // the first day that the format can express

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

// The archive of files { name, bytes }, together at most 4 GB.
export function zip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const { name, bytes } of files) {
    const encoded = new TextEncoder().encode(name);
    const [crc, size, length] = [crc32(bytes), bytes.length, encoded.length];
    // Both headers of a file have these fields.
    const fields = [VERSION, 2, UTF_8, 2, 0, 2, 0, 2, DOS_1980, 2, crc, 4, size, 4, size, 4, length, 2, 0, 2];
    const head = record(0x04034b50, 4, ...fields);
    parts.push(head, encoded, bytes);
    directory.push(record(0x02014b50, 4, VERSION, 2, ...fields, 0, 2, 0, 2, 0, 2, 0, 4, offset, 4), encoded);
    offset += head.length + length + size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = record(0x06054b50, 4, 0, 2, 0, 2, count, 2, count, 2, size, 4, offset, 4, 0, 2);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// The bytes of numbers, each followed by the number of its bytes.
function record(...fields) {
  const bytes = [];
  for (let place = 0; place < fields.length; place += 2)
    for (let byte = 0; byte < fields[place + 1]; byte++) bytes.push((fields[place] >>> (8 * byte)) & 0xff);
  return Uint8Array.from(bytes);
}
