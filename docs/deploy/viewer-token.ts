// For your server (a Next.js route handler or server component), never for the browser: it needs TREERING_EMBED_SECRET.
import { createHmac, randomUUID } from "node:crypto";

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");

/** Signs for whom the app is embedded: valid for one minute, and once. */
export function viewerToken(userId: string, name: string, secret: string): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { aud: "treering-embed", sub: userId, name, jti: randomUUID(), iat: now, exp: now + 60 };
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
