// What the toolbar and the keys do.
import { chainCommands, exitCode, lift, setBlockType, wrapIn } from "prosemirror-commands";
import { InputRule, inputRules, textblockTypeInputRule, wrappingInputRule } from "prosemirror-inputrules";
import { liftListItem, sinkListItem, wrapInList } from "prosemirror-schema-list";
import { completeLink, isAllowedLink } from "./links.js";

// Lists and quotes in each other, which is less than the server's MAX_DEPTH. Deeper ones could not be saved.
export const MAX_NESTING = 6;

const isList = (node) => node.type.name === "bullet_list" || node.type.name === "ordered_list";

export function ancestor(state, test) {
  const { $from } = state.selection;
  for (let depth = $from.depth; depth > 0; depth--) {
    if (test($from.node(depth))) return { node: $from.node(depth), pos: $from.before(depth) };
  }
  return null;
}

export const innermostList = (state) => ancestor(state, isList);

function nesting($from) {
  let count = 0;
  for (let depth = $from.depth; depth > 0; depth--) {
    if (isList($from.node(depth)) || $from.node(depth).type.name === "blockquote") count++;
  }
  return count;
}

const whenShallow = (command) => (state, dispatch, view) =>
  nesting(state.selection.$from) < MAX_NESTING && command(state, dispatch, view);

export function toggleList(type) {
  return (state, dispatch, view) => {
    const found = innermostList(state);
    if (!found) return whenShallow(wrapInList(type))(state, dispatch, view);
    if (found.node.type === type) return liftListItem(state.schema.nodes.list_item)(state, dispatch, view);
    dispatch?.(state.tr.setNodeMarkup(found.pos, type, { tight: found.node.attrs.tight }));
    return true;
  };
}

export const nestItem = (schema) => whenShallow(sinkListItem(schema.nodes.list_item));
export const liftItem = (schema) => liftListItem(schema.nodes.list_item);

export function toggleHeading({ heading, paragraph }) {
  return (state, dispatch, view) => {
    const { $from } = state.selection;
    if ($from.parent.type === heading) return setBlockType(paragraph)(state, dispatch, view);
    return $from.depth === 1 && setBlockType(heading)(state, dispatch, view);
  };
}

export function toggleQuote({ blockquote }) {
  return (state, dispatch, view) => {
    const found = ancestor(state, (node) => node.type === blockquote);
    if (found) return lift(state, dispatch, view);
    return state.selection.$from.depth === 1 && wrapIn(blockquote)(state, dispatch, view);
  };
}

export const insertBreak = ({ hard_break: hardBreak }) =>
  chainCommands(exitCode, (state, dispatch) => {
    dispatch?.(state.tr.replaceSelectionWith(hardBreak.create(), true).scrollIntoView());
    return true;
  });

// Return whether a mark applies at the caret or to a part of the selection.
export function markActive(state, type) {
  const { from, to, $from, empty } = state.selection;
  if (empty) return Boolean(type.isInSet(state.storedMarks || $from.marks()));
  return state.doc.rangeHasMark(from, to, type);
}

// Return the link at the caret or in the selection: its target, and where it begins and ends.
export function linkAt(state) {
  const { link } = state.schema.marks;
  const { $from, from, to, empty } = state.selection;
  if (!link) return null;
  const parent = $from.parent;
  let found = null;
  parent.forEach((node, offset) => {
    const mark = link.isInSet(node.marks);
    const start = $from.start() + offset;
    const end = start + node.nodeSize;
    if (!mark) return;
    if (found && found.to === start && found.mark.eq(mark)) found.to = end;
    else if (!found || !touches(found)) found = { mark, from: start, to: end };
  });
  return found && touches(found) ? found : null;

  function touches(range) {
    return empty ? range.from <= from && range.to >= from : range.from < to && range.to > from;
  }
}

const URL_BEFORE_SPACE = /(?:^|[\s(])((?:https?:\/\/|www\.)\S*[^\s.,;:!?)\]»”"'])([.,;:!?)\]»”"']*)\s$/;

function linkWhatIsOne(link) {
  return new InputRule(URL_BEFORE_SPACE, (state, match, start, end) => {
    const href = completeLink(match[1]);
    const to = end - match[2].length;
    const from = to - match[1].length;
    if (!isAllowedLink(href) || state.doc.rangeHasMark(from, to, link)) return null;
    return state.tr.addMark(from, to, link.create({ href })).removeStoredMark(link).insertText(" ", end);
  });
}

export function textRules(schema) {
  const { heading, blockquote, bullet_list: bullets, ordered_list: numbers } = schema.nodes;
  const rules = schema.marks.link ? [linkWhatIsOne(schema.marks.link)] : [];
  if (heading) {
    rules.push(
      textblockTypeInputRule(/^#{1,6}\s$/, heading),
      wrappingInputRule(/^>\s$/, blockquote),
      wrappingInputRule(/^[-*•]\s$/, bullets),
      // Only the number one: many languages write dates as "9. mart".
      wrappingInputRule(/^1[.)]\s$/, numbers),
    );
  }
  return inputRules({ rules });
}
