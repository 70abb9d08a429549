// Bundles src/main.js to templates/web/static/editor.js, and writes beside it the licences of what is in it.
// The same sources and package-lock.json give the same bytes: CI compares them.
import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const target = new URL("../templates/web/static/", here);

const { metafile } = await build({
  absWorkingDir: new URL(".", here).pathname.replace(/\/$/, ""),
  entryPoints: ["src/main.js"],
  outfile: new URL("editor.js", target).pathname,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome109", "firefox115", "safari16"],
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// Built from editor/ by `npm run build`. Licences of what is in it: editor.NOTICE.txt" },
  metafile: true,
});

const packages = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const notices = [];
for (const name of [...packages].sort()) {
  const folder = new URL(`node_modules/${name}/`, here);
  const { version, license } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
  const text = await readFile(new URL("LICENSE", folder), "utf8");
  notices.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
}
const rule = `\n${"-".repeat(80)}\n\n`;
await writeFile(
  new URL("editor.NOTICE.txt", target),
  `editor.js contains the following packages.\n${rule}${notices.join(rule)}`,
);
