// Reads an answer of our own server as a page. On pages for staff nothing else can make elements of text: see the
// content security policy. Browsers without Trusted Types do without the policy.

const policy = globalThis.trustedTypes?.createPolicy("own-page", { createHTML: (html) => html });

export function parsePage(html) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
}
