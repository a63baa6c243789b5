// Makes the sizes that bench/sizes.py asks for, line by line, with sharp as its documentation shows it.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

sharp.cache(false); // each size is made once in its life

for await (const line of createInterface({ input: process.stdin })) {
  const { path, width, quality, effort } = JSON.parse(line);
  const file = readFileSync(path);
  const before = process.cpuUsage();
  const made = await sharp(file).autoOrient().resize({ width }).webp({ quality, effort }).toBuffer();
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ cpu: (user + system) / 1e6, size: made.length }));
}
