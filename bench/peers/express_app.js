// The same upload with Express 5, multer, sharp and better-sqlite3, as their users write it.
//
// The primary process starts WORKERS processes. sharp decodes on libuv's threads; the database, as
// better-sqlite3 has it, is asked on the main thread.

import cluster from "node:cluster";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, rename } from "node:fs/promises";
import path from "node:path";
import process from "node:process";

import Database from "better-sqlite3";
import express from "express";
import multer from "multer";
import sharp from "sharp";

const DATA = process.env.PEER_DATA;
const MAX_IMAGES = 20;
const EXTENSIONS = { jpeg: "jpg", png: "png", webp: "webp" };
const FULL = "Product already has 20 images (max). Delete one first.";

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function application() {
  const database = new Database(path.join(DATA, "peer.sqlite3"), { timeout: 10_000 });
  database.pragma("synchronous = FULL");
  const findKey = database.prepare("SELECT workspace_id FROM keys WHERE digest = ?");
  const findProduct = database.prepare("SELECT 1 FROM products WHERE id = ? AND workspace_id = ?");
  const countImages = database.prepare("SELECT count(*) FROM images WHERE product_id = ?").pluck();
  const listUrls = database.prepare("SELECT url FROM images WHERE product_id = ? ORDER BY position").pluck();
  const insertImage = database.prepare("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)");

  const append = database.transaction((productId, row) => {
    const urls = listUrls.all(productId);
    if (urls.length >= MAX_IMAGES) throw new Refused(422, FULL);
    insertImage.run(productId, urls.length, ...row);
    return [...urls, row[0]];
  });

  function authenticate(request, _response, next) {
    const [, token] = /^Bearer (\S+)$/i.exec(request.get("Authorization") ?? "") ?? [];
    const key = token && findKey.get(createHash("sha256").update(token).digest());
    if (!key) throw new Refused(401, "Unauthorized");
    request.workspaceId = key.workspace_id;
    next();
  }

  function admit(request, _response, next) {
    const { productId } = request.params;
    if (!findProduct.get(productId, request.workspaceId)) throw new Refused(404, "Product not found");
    if (countImages.get(productId) >= MAX_IMAGES) throw new Refused(422, FULL);
    next();
  }

  const form = multer({ storage: multer.memoryStorage(), limits: { fileSize: 5 * 1024 * 1024, files: 1 } });

  const app = express();
  app.disable("x-powered-by");
  app.post(
    "/api/v1/products/:productId/images",
    authenticate,
    admit,
    form.single("file"),
    async (request, response) => {
      if (!request.file) throw new Refused(400, "No file provided.");
      const data = request.file.buffer;
      const { format, width, height } = await checked(data);
      const { productId } = request.params;
      const name = `${randomBytes(16).toString("hex")}.${EXTENSIONS[format]}`;
      const key = `${request.workspaceId}/products/${productId}/images/${name}`;
      await store(path.join(DATA, "media", key), data);
      const url = `http://127.0.0.1/media/${key}`;
      const digest = createHash("sha256").update(data).digest("hex");
      const row = [url, digest, `image/${format}`, data.length, width, height];
      const imageUrls = append.immediate(productId, row);
      response.status(201).location(url).json({ imageUrl: url, imageUrls });
    },
  );
  app.use((error, _request, response, _next) => {
    const status = error.code === "LIMIT_FILE_SIZE" ? 413 : (error.status ?? 500);
    response.status(status).json({ error: error.message });
  });
  return app;
}

// What the picture is by its bytes, once it has been decoded whole.
async function checked(data) {
  const image = sharp(data, { failOn: "warning", limitInputPixels: 50_000_000 });
  let metadata;
  try {
    metadata = await image.metadata();
  } catch {
    throw new Refused(415, "Unsupported or broken image");
  }
  if (!(metadata.format in EXTENSIONS)) throw new Refused(415, "Unsupported or broken image");
  try {
    await image.raw().toBuffer();
  } catch {
    throw new Refused(400, "Image is corrupt or incomplete");
  }
  return metadata;
}

// When it is done, the file is on the disk, and so is its name.
async function store(file, data) {
  const folder = path.dirname(file);
  await mkdir(folder, { recursive: true });
  const handle = await open(`${file}.incoming`, "wx");
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.incoming`, file);
  const directory = await open(folder);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

if (cluster.isPrimary) {
  for (let started = 0; started < Number(process.env.WORKERS); started += 1) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit(0);
  });
} else {
  application().listen(Number(process.env.PORT), "127.0.0.1");
}
