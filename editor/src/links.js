// What may be linked: the rules of mailer/domain/markdown.py, so that nobody waits for the server to hear of a slip.
const ALLOWED = /^(?:https?:\/\/[\p{L}\p{N}_.~-]+(?::\d{1,5})?(?:[/?#]\S*)?|mailto:[^\s@<>]+@[^\s@<>]+)$/iu;
const ADDRESS = /^[^\s@<>:/?#]+@[^\s@<>:/?#]+\.[^\s@<>:/?#.]+$/;
const WRAPPERS = [
  [/^https:\/\/[a-z0-9-]+\.safelinks\.protection\.outlook\.com\//i, "url"],
  [/^https:\/\/www\.google\.com\/url\?/i, "q"],
];

export function isAllowedLink(url) {
  return ALLOWED.test(url);
}

// Return a URL with the scheme that it obviously has: `www.example.org` or `ina@example.org` as written.
export function completeLink(url) {
  if (/^www\./i.test(url)) return `https://${url}`;
  return ADDRESS.test(url) ? `mailto:${url}` : url;
}

// Return what somebody typed as a link as one, or null. A host alone, `example.org/page`, is taken for a web address.
export function linkFrom(typed) {
  const url = completeLink(typed.trim());
  if (isAllowedLink(url)) return url;
  const web = `https://${url}`;
  return /^[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}(?:[/?#]\S*)?$/u.test(url) && isAllowedLink(web) ? web : null;
}

// Return the target of a pasted link, out of the wrapping that Outlook and Google Docs put around it, or null.
export function pastedLink(href) {
  const url = completeLink(href.trim());
  const wrapper = WRAPPERS.find(([pattern]) => pattern.test(url));
  const target = wrapper && new URLSearchParams(url.slice(url.indexOf("?") + 1)).get(wrapper[1]);
  const inner = target && isAllowedLink(target) ? target : url;
  return isAllowedLink(inner) ? inner : null;
}
