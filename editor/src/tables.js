// Tables: the first row is the header, a column has one alignment, and cells are never merged.
import { Plugin, TextSelection } from "prosemirror-state";
import {
  addColumnAfter,
  addColumnBefore,
  addRowAfter,
  addRowBefore,
  deleteColumn,
  deleteRow,
  deleteTable,
  goToNextCell,
  isInTable,
  selectedRect,
  tableEditing,
} from "prosemirror-tables";

export { goToNextCell, isInTable };

const START_ROWS = 3;
const START_COLUMNS = 3;

export function insertTable(state, dispatch) {
  const { schema, selection } = state;
  const { table, table_row: row, table_header: header, table_cell: cell } = schema.nodes;
  if (selection.$from.depth !== 1) return false;
  if (dispatch) {
    const rows = Array.from({ length: START_ROWS }, (_, at) =>
      row.create(null, Array.from({ length: START_COLUMNS }, () => (at ? cell : header).create())),
    );
    const empty = selection.empty && selection.$from.parent.content.size === 0;
    const at = empty ? selection.$from.before(1) : selection.$to.after(1);
    const tr = state.tr.replaceWith(at, empty ? selection.$from.after(1) : at, table.create(null, rows));
    dispatch(tr.setSelection(TextSelection.near(tr.doc.resolve(at + 3))).scrollIntoView());
  }
  return true;
}

// Enter: to the cell below; from the last row to the paragraph after the table.
export function enterInTable(state, dispatch) {
  if (!isInTable(state)) return false;
  if (dispatch) {
    const rect = selectedRect(state);
    if (rect.bottom < rect.map.height) {
      const cell = rect.tableStart + rect.map.positionAt(rect.bottom, rect.left, rect.table);
      dispatch(state.tr.setSelection(TextSelection.near(state.doc.resolve(cell + 1))).scrollIntoView());
    } else {
      leaveTable(state, dispatch);
    }
  }
  return true;
}

export function leaveTable(state, dispatch) {
  if (!isInTable(state)) return false;
  if (dispatch) {
    const rect = selectedRect(state);
    const after = rect.tableStart + rect.table.nodeSize - 1;
    const tr = state.tr;
    if (!tr.doc.resolve(after).nodeAfter?.isTextblock) tr.insert(after, state.schema.nodes.paragraph.create());
    dispatch(tr.setSelection(TextSelection.near(tr.doc.resolve(after + 1))).scrollIntoView());
  }
  return true;
}

function align(value) {
  return (state, dispatch) => {
    if (!isInTable(state)) return false;
    if (dispatch) {
      const { map, table, tableStart, left, right } = selectedRect(state);
      const tr = state.tr;
      for (const cell of map.cellsInRect({ left, right, top: 0, bottom: map.height })) {
        tr.setNodeAttribute(tableStart + cell, "align", value);
      }
      dispatch(tr);
    }
    return true;
  };
}

export const tableCommands = [
  ["row_before", addRowBefore],
  ["row_after", addRowAfter],
  ["delete_row", deleteRow],
  ["column_before", addColumnBefore],
  ["column_after", addColumnAfter],
  ["delete_column", deleteColumn],
  ["align_left", align("left")],
  ["align_center", align("center")],
  ["align_right", align("right")],
  ["delete_table", deleteTable],
];

// Make the first row the header and nothing else, and give a column the alignment of its header.
function normalize(state) {
  const { table_header: header, table_cell: cell } = state.schema.nodes;
  const tr = state.tr;
  state.doc.descendants((node, at) => {
    if (node.type.spec.tableRole !== "table") return !node.isTextblock;
    node.forEach((row, rowAt, index) => {
      const type = index ? cell : header;
      row.forEach((item, itemAt, column) => {
        const wanted = node.firstChild.maybeChild(column)?.attrs.align ?? null;
        if (item.type !== type || item.attrs.align !== wanted) {
          tr.setNodeMarkup(at + 1 + rowAt + 1 + itemAt, type, { ...item.attrs, align: wanted });
        }
      });
    });
    return false;
  });
  return tr.docChanged ? tr : null;
}

export function tablePlugins() {
  return [
    new Plugin({
      appendTransaction: (transactions, _, state) =>
        transactions.some((transaction) => transaction.docChanged) ? normalize(state) : null,
    }),
    tableEditing(),
  ];
}
